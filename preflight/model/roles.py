"""This node's tokens by role, and the rights of each at the control plane."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from preflight.model.control import HttpAnswer
from preflight.model.enrolment import JoinedRow

if TYPE_CHECKING:
    from pydantic import SecretStr

RoleName = Literal["node", "mesh", "worker", "submitter", "admin"]
"""`node`: the bearer of this node's settings, which may be a worker's or the mesh token."""


@dataclass(frozen=True, slots=True)
class RoleToken:
    """One token. source: the variable or the setting that it comes from. `repr` hides the value."""

    role: RoleName
    source: str
    value: "SecretStr"

    @property
    def is_jwt(self) -> bool:
        """Whether it is a JWT; the control plane accepts each JWT only once."""
        text = self.value.get_secret_value()
        return text.startswith("eyJ") and text.count(".") == 2


@dataclass(frozen=True, slots=True)
class Rights:
    """The measured rights of a token: True, False, or None if the answer is not conclusive.

    work: a worker's routes, by `GET nodes`. deliver: without a delivery only a refusal can be measured.
    administer: by `GET exec/leases`. known: False if the control plane does not know the token. silent: no answer came.
    turned_away: how something else than the control plane answers to a join.
    """

    token: RoleToken
    work: bool | None = None
    deliver: bool | None = None
    administer: bool | None = None
    known: bool | None = None
    detail: str = ""
    asked: bool = True
    turned_away: HttpAnswer | None = None
    silent: bool = False


ScopeVerdict = Literal["enforced", "open", "unknown"]


@dataclass(frozen=True, slots=True)
class ScopeTrial:
    """The answer to a join with a foreign scope. left: whether its node is removed again. refused: with 401.

    written_down: the record of that node in the state folder, if it could be written.
    """

    verdict: ScopeVerdict
    identity: str
    scope_id: str
    detail: str = ""
    left: bool = True
    written_down: JoinedRow | None = None
    refused: bool = False
