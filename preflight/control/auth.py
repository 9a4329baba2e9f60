"""Authorization: four roles, bearers compared in constant time, and HS256 JWTs."""

import hmac
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

import jwt

JWT_LEEWAY_S = 60
LONGEST_JWT = 8 * 1024
LONGEST_JTI = 512


class Role(StrEnum):
    """The role of a bearer, in the order of comparison: of two equal secrets the first wins."""

    MESH = "mesh"
    WORKER = "worker"
    SUBMITTER = "submitter"
    ADMIN = "admin"


class Access(Enum):
    """Whom a route admits."""

    ANYBODY = "without a bearer"
    ANY_ROLE = "every bearer"
    WORKERS = "worker, mesh or admin"
    SUBMITTERS = "submitter, mesh or admin"
    ADMINS = "mesh or admin"

    def admits(self, role: Role) -> bool:
        """Whether a bearer of this role may use the route."""
        if self is Access.WORKERS:
            return role is not Role.SUBMITTER
        if self is Access.SUBMITTERS:
            return role is not Role.WORKER
        return self is not Access.ADMINS or role in (Role.MESH, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid JWT; `jti` must be new; after `forget_unix_ms` it need not be stored any longer."""

    role: Role
    jti: str
    forget_unix_ms: int


@dataclass(frozen=True, slots=True)
class Bearers:
    """The secrets of the server. Never shown."""

    tokens: dict[Role, str] = field(default_factory=dict, repr=False)
    jwt_secret: str | None = field(default=None, repr=False)

    @property
    def required(self) -> bool:
        """Whether requests need a bearer; without any secret the server is open."""
        return bool(self.tokens or self.jwt_secret)

    def role_of(self, bearer: bytes) -> Role | None:
        """The role of an opaque bearer, or None. Always compares every secret."""
        matches = [
            role for role in Role if role in self.tokens and hmac.compare_digest(self.tokens[role].encode(), bearer)
        ]
        return matches[0] if matches else None

    def claims_of(self, bearer: bytes, now_ms: int) -> Claims | None:
        """The claims of a JWT that is signed with our secret and has not expired, or None (RFC 7519, RFC 7515)."""
        if self.jwt_secret is None or len(bearer) > LONGEST_JWT:
            return None
        try:
            token = jwt.decode_complete(
                bearer,
                self.jwt_secret,
                algorithms=["HS256"],
                # Times are checked below, by the server's clock; iat says nothing about validity (RFC 7519, 4.1.6).
                options={
                    "require": ["role", "jti", "exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return None
        if "crit" in token["header"]:  # critical extensions, which we do not support (RFC 7515, section 4.1.11)
            return None
        return _claims(token["payload"], now_ms)


def _claims(payload: dict[str, Any], now_ms: int) -> Claims | None:
    role, jti, exp, nbf = payload["role"], payload["jti"], payload["exp"], payload.get("nbf", 0)
    if not (isinstance(role, str) and _is_id(jti) and type(exp) is type(nbf) is int):
        return None
    role = role.strip().lower()
    forget = (exp + JWT_LEEWAY_S) * 1000
    if role not in set(Role) or forget <= now_ms or (nbf - JWT_LEEWAY_S) * 1000 > now_ms:
        return None
    return Claims(Role(role), jti, forget)


def _is_id(jti: object) -> bool:
    """Whether the text can be stored: JSON can also encode unpaired surrogates, which cannot."""
    if not isinstance(jti, str) or not jti.strip() or len(jti) > LONGEST_JTI:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in jti)


def bearer_of(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """The credential of the only `Authorization` header if its scheme is `Bearer` (RFC 6750, section 2.1).

    With two headers, a proxy in front may have checked the other one.
    """
    values = [value for name, value in headers if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, credential = values[0].partition(b" ")
    return credential.strip() or None if scheme == b"Bearer" else None
