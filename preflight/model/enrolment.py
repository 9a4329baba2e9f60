"""Facts about an enrolment for the report, in addition to its steps, and about nodes that killed runs left."""

from dataclasses import dataclass
from shlex import quote
from typing import Literal

from preflight.model.remedy import Remedies
from preflight.model.token import UnreadLine


@dataclass(frozen=True, slots=True)
class EnrolmentFacts:
    """Who enrolled where.

    identity_taken: the id in the settings was not used, because a live node may own it.
    existed_before: the node was registered before, hidden from the list, so it was not
    removed. foreign_scope: the scope of the credential, if it is not the scope in the settings.
    listed_scope: the scope id that all nodes of the list carry.
    credentials: the file with the credential. has_token: there was a bearer to send. bought: it is the one that the
    one-time token bought. only_for_workers: the variable of a token that workers do not send, where there is no other.
    bearer_place: where this node's own bearer comes from. scope_file: the settings file, if the scope comes from it.
    written_down: the record of the node in the state folder, for clean-up after a kill; unrecorded: why there is none.
    hidden: what to say and to do about a better bearer. several: another answer to the same question was different.
    unread_scope: a line with this node's scope id that workers do not read.
    """

    url: str
    identity: str
    identity_taken: bool = False
    existed_before: bool = False
    scope_id: str | None = None
    foreign_scope: str | None = None
    listed_scope: str | None = None
    node_count: int = 0
    credentials: str = ""
    has_token: bool = True
    bought: bool = False
    only_for_workers: str | None = None
    bearer_place: str = ""
    scope_file: str | None = None
    written_down: "JoinedRow | None" = None
    unrecorded: str = ""
    hidden: tuple[str, Remedies] | None = None
    several: bool = False
    unread_scope: UnreadLine | None = None


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """A node that a run is about to join, as recorded before the join; it contains no secret.

    url: the control plane's, normalised. made_up: the id is random, so no other node has it. mark: a unique label in
    the node's record. command: what joins it. at_unix_ms: when, by this node's clock. config: the settings file
    of the run; credentials: the file with its credential; empty if there is none.
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
        """The command that removes the node, with the settings of the run that joined it."""
        settings = f" --config {quote(self.config)}" if self.config else ""
        line = f"preflight clean{settings} --control-url {quote(self.url)}"
        return f"(set -a; . {quote(self.credentials)}; {line})" if self.credentials else line


Fate = Literal["found", "removed", "gone", "not-ours", "stays", "unreadable"]


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """The state of something that a killed run left; `row` None: a file that cannot be read, named in `detail`.

    `found`: only reported. `gone`: it did not exist any more. `not-ours`: another node has the id now. `stays`: it
    could not be removed, for the reason in `detail`.
    """

    fate: Fate
    row: JoinedRow | None
    detail: str = ""
