"""What a report tells about an enrolment beside how its steps went."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EnrolmentFacts:
    """Who enrolled where.

    identity_taken: the id of the settings was not used, as a living node may own it.
    existed_before: the row was there already, hidden from the list, so it was not removed.
    foreign_scope: what the bought credential is for, where that is not the scope of the settings.
    credentials: the file that keeps the credential. has_token: there was a bearer to send.
    """

    url: str
    identity: str
    identity_taken: bool = False
    existed_before: bool = False
    scope_id: str | None = None
    foreign_scope: str | None = None
    node_count: int = 0
    credentials: str = ""
    has_token: bool = True
