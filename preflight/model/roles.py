"""Tokens that this node has, by the role that their place names; and what the control plane lets each of them do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
        """Whether it is a JWT, of which the control plane takes each only once."""
        text = self.value.get_secret_value()
        return text.startswith("eyJ") and text.count(".") == 2


@dataclass(frozen=True, slots=True)
class Rights:
    """What a token was seen to open: True, False, or None where the answer does not tell.

    work: a worker's routes, by `GET nodes`. deliver: only a refusal can be seen without delivering anything.
    administer: by `GET exec/leases`. known: False if the control plane does not know the token.
    """

    token: RoleToken
    work: bool | None = None
    deliver: bool | None = None
    administer: bool | None = None
    known: bool | None = None
    detail: str = ""
    asked: bool = True


ScopeVerdict = Literal["enforced", "open", "unknown"]


@dataclass(frozen=True, slots=True)
class ScopeTrial:
    """How a join with somebody else's scope was answered. left: whether the row that it made is gone again."""

    verdict: ScopeVerdict
    identity: str
    scope_id: str
    detail: str = ""
    left: bool = True
