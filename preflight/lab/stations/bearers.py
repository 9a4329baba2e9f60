"""Faults of the bearer that a request carries, and of the scope id in it."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import SCOPE, Bearer, Blueprint
from preflight.lab.front import Act, Front
from preflight.lab.part import Part, planned
from preflight.lab.site import CONTROL, write_private
from preflight.lab.stations import asks
from preflight.lab.stations.asks import JOIN, LIST, ask, must
from preflight.lab.stations.fault import Fault
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_AT = Place("request", "bearer")
_SCOPE_AT = Place("request", "scope")
MALFORMED = "enroll.bearer-malformed"
_WORKER = "VOX_MESH_WORKER_TOKEN"
_TOKEN = "token"  # noqa: S105 - a file's name
_HOUR_S = 3600
_NO_BOOTSTRAP = planned("a has no bootstrap token", bootstrap="none")

WRITINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "bom": ("BOM", lambda token: b"\xef\xbb\xbf" + token + b"\n"),
    "quotes": ("quotes", lambda token: b'"' + token + b'"\n'),
    "assignment": ("NAME=", lambda token: b"VOX_MESH_TOKEN=" + token + b"\n"),
    "crlf": ("CR LF", lambda token: token + b"\r\n"),
    "empty": ("empty", lambda token: b"\n"),
    "placeholder": ("placeholder", lambda token: b"${VOX_MESH_TOKEN}\n"),
    "prefix": ("Bearer", lambda token: b"Bearer " + token + b"\n"),
    "utf16": ("UTF-16", lambda token: (token.decode() + "\r\n").encode("utf-16")),
    "lines": ("several lines", lambda token: b"# for workers\n" + token + b"\n"),
    "json": ("JSON", lambda token: b'{"mesh_token": "' + token + b'", "scope_id": null}\n'),
}
LOST = ("empty", "placeholder")
"""The token is not in the file at all, so another one is needed."""
BY_HAND = (*LOST, "json", "utf16", "lines")
"""What editors and shells make of a token's file: the word for it, and the bytes of the file."""


def _written(kind: str) -> Fault:
    word, write = WRITINGS[kind]

    def content(network: "Network") -> bytes:
        return write(asks.mesh_token(network).encode())

    def prove(network: "Network") -> None:
        must(asks.content(network.names.files("a") / _TOKEN) == content(network), f"the token's file has no {word}")
        must(asks.ask(network, LIST, token=asks.mesh_token(network)).status == 200, "the token in it is not good")

    def expected(setup: Setup) -> Truth:
        heals = "nothing" if kind in BY_HAND else "command"
        where = "control host" if kind in LOST else "node"
        return Truth(MALFORMED, "control", place=_AT, deciding=Deciding("problem", word), heals=heals, where=where)  # type: ignore[arg-type]

    return Fault(
        name=f"bearer-{kind}",
        summary=f"the file with a's bearer: {word}",
        place=_AT,
        made=lambda setup: (_NO_BOOTSTRAP, asks.written(f"a's token file: {word}", _TOKEN, content)),
        expected=expected,
        proof=prove,
        excluded=asks.needs_control,
    )


def _bearer(kind: Bearer) -> Callable[[Setup], tuple[Part, ...]]:
    return lambda setup: (planned(f"a's token is {kind}", loopback=True, bearer=kind, bootstrap="none"),)


def _is(code: str, deciding: Deciding | None = None) -> Callable[[Setup], Truth]:
    """Another token is needed, and only a person at the control host can give one."""
    return lambda setup: Truth(code, "control", place=_AT, deciding=deciding, where="control host")


def _own(network: "Network") -> str:
    return asks.content(network.names.files("a") / _TOKEN).decode().strip()


def _refused(status: int) -> "Callable[[Network], None]":
    """The control plane itself refuses the bearer in a's file."""

    def prove(network: "Network") -> None:
        must(bool(_own(network)), "a has no token")
        got = ask(network, LIST, token=_own(network))
        must((got.status, got.populi) == (status, True), f"the list: {got.status or got.text}")

    return prove


def _only_worker(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        token = asks.content(network.names.files(CONTROL) / "worker-token").decode().strip()
        write_private(network.names.files("a") / "worker-token", token)
        (network.names.files("a") / _TOKEN).unlink()
        asks.change_settings(network, lambda found: found["control"].pop("token_file", None))

    roles = asks.control_settings("the server has a token for workers", worker_token_file="worker-token")  # noqa: S106 - a file
    has = asks.variables("a has only the workers' token", **{_WORKER: "worker-token"})
    return (_NO_BOOTSTRAP, roles, has, Part("a has no other token", inject=inject))


def _only_worker_is(setup: Setup) -> Truth:
    # Real workers send VOX_MESH_TOKEN alone: the same token under that name is what they need.
    return Truth(
        "enroll.unauthorized",
        "control",
        place=_AT,
        deciding=Deciding("variable", _WORKER),
        heals="file",
    )


def _worker_is_good(network: "Network") -> None:
    """A good token is there, and what real workers would send is nothing."""
    must(_WORKER in network.plan.node_environment and not _own(network), "a has another token")
    token = asks.content(network.names.files("a") / "worker-token").decode().strip()
    must(ask(network, LIST, token=token).status == 200, "the workers' token is not good")
    must(ask(network, LIST).status == 401, "the control plane asks for no bearer")


def _jwt(
    word: str, *, life: tuple[int, int], use: bool = False, algorithm: str = "HS256"
) -> Callable[[Setup], tuple[Part, ...]]:
    """a's token is a JWT, valid from and to these seconds from now. use: it is used once before the run."""

    def make(network: "Network") -> bytes:
        import jwt

        secret = asks.content(network.names.files(CONTROL) / "jwt-secret").decode().strip()
        now = int(time.time())
        claims = {"role": "worker", "jti": f"{network.names.lab}-{now}", "nbf": now + life[0], "exp": now + life[1]}
        return f"{jwt.encode(claims, secret, algorithm=algorithm)}\n".encode()

    def spend(network: "Network") -> None:
        if use:
            must(ask(network, LIST, token=_own(network)).status == 200, "the new JWT is not good")

    secret = asks.control_settings("the server accepts JWTs", jwt_secret_file="jwt-secret")  # noqa: S106 - a file's name
    token = asks.written(f"a's token is a JWT: {word}", _TOKEN, make)
    return lambda setup: (_NO_BOOTSTRAP, secret, token, Part("and perhaps used", inject=spend))


def _is_jwt(network: "Network") -> None:
    must(_own(network).count(".") == 2, "a's token is not a JWT")
    _refused(401)(network)


def _stripped(setup: Setup) -> tuple[Part, ...]:
    return (asks.in_front("a gateway that hands no bearer on", Front(root=Act(without="bearer"))),)


def _stripped_is(setup: Setup) -> Truth:
    # The control plane gave this token a moment ago, in exchange for the one-time token, and refuses it now.
    return Truth("enroll.unauthorized", "control", place=_AT, deciding=Deciding("problem", "stripped"))


def _good_one_refused(network: "Network") -> None:
    got = ask(network, LIST, token=asks.mesh_token(network))
    must((got.status, got.populi) == (401, True), f"the list, with a good bearer: {got.status or got.text}")


def _scoped(name: str, summary: str, scope_id: str) -> Fault:
    def shape(plan: Blueprint) -> Blueprint:
        return replace(plan, scope_id=scope_id)

    def prove(network: "Network") -> None:
        must(asks.settings(network)["control"]["scope_id"] == scope_id, "a has another scope id")
        got = ask(network, JOIN, asks.record("proof", scope_id=scope_id), token=asks.mesh_token(network))
        must((got.status, got.populi) == (403, True), f"a join: {got.status or got.text}")

    return Fault(
        name=name,
        summary=summary,
        place=_SCOPE_AT,
        made=lambda setup: (asks.shaped(summary, shape, loopback=True),),
        expected=lambda setup: Truth(
            "enroll.scope-mismatch",
            "control",
            place=_SCOPE_AT,
            deciding=Deciding("scope_id", scope_id),
            heals="file",
        ),
        proof=prove,
        excluded=asks.needs_control,
    )


FAULTS = (
    *map(_written, WRITINGS),
    Fault(
        name="bearer-only-worker",
        summary="a holds a token for workers under its own name only, which real workers do not send",
        place=_AT,
        made=_only_worker,
        expected=_only_worker_is,
        proof=_worker_is_good,
        excluded=asks.needs_control,
    ),
    Fault(
        name="bearer-unknown",
        summary="a's token is of another cluster",
        place=_AT,
        made=_bearer("unknown"),
        expected=_is("enroll.unauthorized"),
        proof=_refused(401),
        excluded=asks.needs_control,
    ),
    Fault(
        name="bearer-submitter",
        summary="a's token is one for submitters",
        place=_AT,
        made=_bearer("submitter"),
        expected=_is("enroll.forbidden"),
        proof=_refused(403),
        excluded=asks.needs_control,
    ),
    Fault(
        name="bearer-stripped",
        summary="a gateway takes the bearer out of each request",
        place=_AT,
        made=_stripped,
        expected=_stripped_is,
        proof=_good_one_refused,
        excluded=asks.needs_direct,
    ),
    *(
        Fault(
            name=f"bearer-jwt-{name}",
            summary=f"a's token is a JWT: {word}",
            place=_AT,
            made=_jwt(word, life=life, use=use, algorithm=algorithm),
            expected=_is("enroll.unauthorized", Deciding("problem", word)),
            proof=_is_jwt,
            excluded=asks.needs_control,
        )
        for name, word, life, use, algorithm in (
            ("used", "used up", (-_HOUR_S, _HOUR_S), True, "HS256"),
            ("early", "not valid yet", (_HOUR_S, 2 * _HOUR_S), False, "HS256"),
            ("expired", "expired", (-2 * _HOUR_S, -_HOUR_S), False, "HS256"),
            ("algorithm", "HS512", (-_HOUR_S, _HOUR_S), False, "HS512"),
        )
    ),
    _scoped("scope-other", "a's scope id is that of another cluster", "another-cluster"),
    _scoped("scope-case", "a's scope id differs in its capitals", SCOPE.upper()),
    _scoped("scope-blank", "a's scope id has a blank at its end", f"{SCOPE} "),
)
