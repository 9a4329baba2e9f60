"""What a report tells about an enrolment beside how its steps went, and about rows that killed runs have left."""

from dataclasses import dataclass
from shlex import quote
from typing import Literal


@dataclass(frozen=True, slots=True)
class EnrolmentFacts:
    """Who enrolled where.

    identity_taken: the id of the settings was not used, as a living node may own it.
    existed_before: the row was there already, hidden from the list, so it was not removed.
    foreign_scope: what the bought credential is for, where that is not the scope of the settings.
    credentials: the file that keeps the credential. has_token: there was a bearer to send.
    written_down: the row as the state folder holds it, for whoever comes after a kill; unrecorded: why it does not.
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
    written_down: "JoinedRow | None" = None
    unrecorded: str = ""


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """A row that a run is about to join, as it is written down before; it holds no secret.

    url: the control plane's, normalised. made_up: the id is random, so nobody else has it. mark: a label that the row
    carries and no other does. command: what joins it. at_unix_ms: when, by this node's clock. config: the settings file
    of the run; credentials: the file with the credential that it bought; empty where there is none.
    """

    url: str
    node_id: str
    made_up: bool
    mark: str
    command: str
    at_unix_ms: int
    scope_id: str | None = None
    config: str = ""
    credentials: str = ""

    @property
    def clean_line(self) -> str:
        """The line to paste that takes the row back, with the settings of the run that joined it."""
        settings = f" --config {quote(self.config)}" if self.config else ""
        line = f"preflight clean{settings} --control-url {quote(self.url)}"
        return f"(set -a; . {quote(self.credentials)}; {line})" if self.credentials else line


Fate = Literal["found", "removed", "gone", "not-ours", "stays", "unreadable"]


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What became of something that a killed run left; `row` None: of a file that cannot be read, which `detail` names.

    `found`: nothing was done about it. `gone`: it was not there any more. `not-ours`: the row is somebody else's now.
    `stays`: it could not be removed, for the reason in `detail`.
    """

    fate: Fate
    row: JoinedRow | None
    detail: str = ""
