"""Bearers and JWTs against a clock that is given."""

import jwt
import pytest

from preflight.control.auth import Access, Bearers, Role, bearer_of

SECRET = "a-secret-of-the-tests-with-more-than-32-bytes"
NOW_MS = 1_700_000_000_000
NOW_S = NOW_MS // 1000
BEARERS = Bearers({Role.MESH: "m" * 20, Role.WORKER: "w" * 20}, SECRET)


def signed(**claims: object) -> bytes:
    return jwt.encode({"role": "worker", "jti": "x", "exp": NOW_S, **claims}, SECRET).encode()


def test_secrets_do_not_show() -> None:
    """Not in a repr, so not in a traceback or a log."""
    assert "m" * 20 not in repr(BEARERS)
    assert SECRET not in repr(BEARERS)


def test_an_opaque_bearer_has_the_role_of_its_secret() -> None:
    """Of two roles with one secret the first counts; unknown ones, bytes that are not text and empty ones have none."""
    assert BEARERS.role_of(b"w" * 20) is Role.WORKER
    twins = Bearers({Role.WORKER: "same", Role.ADMIN: "same"})
    assert twins.role_of(b"same") is Role.WORKER
    for unknown in (b"", b"w", b"\xff\xfe", b"w" * 21):
        assert BEARERS.role_of(unknown) is None


@pytest.mark.parametrize(
    ("access", "roles"),
    [
        (Access.WORKERS, {Role.MESH, Role.ADMIN, Role.WORKER}),
        (Access.SUBMITTERS, {Role.MESH, Role.ADMIN, Role.SUBMITTER}),
        (Access.ADMINS, {Role.MESH, Role.ADMIN}),
        (Access.ANY_ROLE, set(Role)),
    ],
)
def test_whom_a_route_admits(access: Access, roles: set[Role]) -> None:
    """The role table."""
    assert {role for role in Role if access.admits(role)} == roles


@pytest.mark.parametrize(("exp", "good"), [(NOW_S + 1, True), (NOW_S - 59, True), (NOW_S - 60, False), (2**60, True)])
def test_a_jwt_lives_until_sixty_seconds_past_its_expiry(exp: int, good: bool) -> None:
    """And has to be remembered exactly as long."""
    claims = BEARERS.claims_of(signed(exp=exp), NOW_MS)
    assert (claims is not None) == good
    if claims:
        assert claims.forget_unix_ms == (exp + 60) * 1000


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 10.5},
        {"exp": True},
        {"exp": "1"},
        {"exp": -1},
        {"exp": None},
        {"jti": ""},
        {"jti": 5},
        {"role": "root"},
        {"role": 5},
        {"nbf": NOW_S + 61},
        {"nbf": "x"},
        {"aud": "somebody-else"},
    ],
)
def test_unsound_claims_open_nothing(claims: dict[str, object]) -> None:
    """Wrong types, no time, no id, no role, not yet valid, meant for others."""
    assert BEARERS.claims_of(signed(**{"exp": NOW_S + 60, **claims}), NOW_MS) is None


@pytest.mark.parametrize("claims", [{"role": " Admin "}, {"iat": NOW_S + 10**6}, {"nbf": NOW_S + 60}, {"more": 1}])
def test_sound_claims_do(claims: dict[str, object]) -> None:
    """Case of the role, the time of issue and unknown claims do not matter."""
    assert BEARERS.claims_of(signed(**claims), NOW_MS) is not None


@pytest.mark.parametrize("token", [b"", b"a.b.c", b"\xff.\xff.\xff", signed()[:-1], signed() + b"x", b"." * 100_000])
def test_what_is_no_jwt_of_ours_opens_nothing(token: bytes) -> None:
    """Never an exception."""
    assert BEARERS.claims_of(token, NOW_MS) is None
    assert Bearers({Role.MESH: "m"}).claims_of(signed(), NOW_MS) is None


@pytest.mark.parametrize(
    ("value", "bearer"),
    [
        (b"Bearer abc", b"abc"),
        (b"Bearer  abc ", b"abc"),
        (b"Bearer", None),
        (b"Bearer  ", None),
        (b"bearer abc", None),
        (b"Basic abc", None),
        (b"", None),
    ],
)
def test_the_scheme_is_bearer(value: bytes, bearer: bytes | None) -> None:
    """Written as the real server wants it."""
    assert bearer_of([(b"host", b"x"), (b"authorization", value)]) == bearer
    assert bearer_of([(b"host", b"x")]) is None
