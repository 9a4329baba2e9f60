"""This node's row on the control plane, and what a machine asks its driver to do about it.

Enrolment, scope trial and membership share these rules: a living node's row is never replaced or removed, and every
row that may have been joined is left again.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from preflight.model.control import ControlError, Credential, NodeList, NodeRecord
from preflight.proto.control.backoff import unheard

LEAVE_S = 10.0
"""How long leaving may take, however much time the steps before it used."""


class State(StrEnum):
    """What a machine wants done next."""

    EXCHANGE = "exchange"
    STORE = "store"
    LOOK = "look"
    JOIN = "join"
    HEARTBEAT = "heartbeat"
    HEARTBEAT_AGAIN = "heartbeat-again"
    LIST = "list"
    GRANT = "grant"
    RENEW = "renew"
    RELEASE = "release"
    LEAVE = "leave"
    DONE = "done"


Answer = Credential | NodeRecord | NodeList | str | None
"""What a call returns: by state a credential (exchange, store), the list (look, list), the row, a lease's id (grant),
or nothing (renew, release, leave)."""


@dataclass(frozen=True, slots=True)
class Call:
    """Perform `state` now, within `timeout_s` seconds, then report it by `succeeded` or `failed`."""

    state: State
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`, seconds of the machine's clock."""

    until: float


class OwnRow:
    """The row that one run may have put on the control plane: its id, and whether it may still be listed.

    node_id: the id that the settings give. It is used only if no node of that id is listed, because a join would
    replace a living node's row, and leaving would remove it. spare_id: a random id, used otherwise.
    scope_id: the scope to join under.
    """

    def __init__(self, node_id: str | None, spare_id: str, scope_id: str | None) -> None:
        self.identity = node_id or spare_id
        self.scope_id = scope_id
        self.identity_taken = False
        self.existed_before = False
        self.lease_id = ""
        self._spare_id = spare_id
        self._may_exist = self._unheard = False

    @property
    def may_be_listed(self) -> bool:
        """Whether a row may be there that this run put there."""
        return self._may_exist and not self.existed_before

    @property
    def is_spare(self) -> bool:
        """Whether its id is the random one: such a row is in maintenance, so that nobody gives it work or a lease."""
        return self.identity == self._spare_id

    def take_spare_id(self) -> None:
        """The given id may be a living node's: use the random one."""
        self.identity_taken = self.identity_taken or self.identity != self._spare_id
        self.identity = self._spare_id

    def avoid(self, listed: Answer) -> None:
        """The control plane listed its nodes: do not use the id of one of them."""
        if isinstance(listed, NodeList) and any(node.id == self.identity for node in listed.nodes):
            self.take_spare_id()

    def joining(self) -> None:
        """A join is sent: the row may exist from here on, until the join is refused."""
        self._may_exist = True

    def joined(self, answer: Answer) -> None:
        """The join was answered. A row that kept a quarantine or a drain was there before, hidden from the list."""
        if isinstance(answer, NodeRecord) and self.identity != self._spare_id:
            self.existed_before = answer.quarantined or answer.draining

    def join_failed(self, error: ControlError) -> None:
        """The join failed: the row exists only if this join, or an earlier one, was carried out unheard."""
        self._unheard |= unheard(error)
        self._may_exist = self._unheard

    def left(self) -> None:
        """The control plane says that the row is gone."""
        self._may_exist = False


def spare_prefix(host: str) -> str:
    """How the random ids of this host begin: `preflight-<host>`."""
    return f"preflight-{re.sub(r'[^a-z0-9-]+', '-', host.lower()).strip('-')[:40] or 'node'}"
