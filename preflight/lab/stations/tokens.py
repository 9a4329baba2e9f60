"""Faults of the one-time token that a exchanges for its bearer."""

from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Bootstrap
from preflight.lab.part import planned
from preflight.lab.stations import asks
from preflight.lab.stations.asks import EXCHANGE, ask, must
from preflight.lab.stations.bearers import BY_HAND, LOST, WRITINGS
from preflight.lab.stations.fault import Fault
from preflight.lab.truth import Deciding, Healer, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_AT = Place("token", "token")
MALFORMED = "enroll.bootstrap-malformed"
_TOKEN = "bootstrap-token"  # noqa: S105 - a file's name


def _good(network: "Network") -> bytes:
    """The one-time token that the control plane knows."""
    return asks.content(network.names.files("control") / _TOKEN).strip()


def _written(kind: str) -> Fault:
    word, write = WRITINGS[kind]

    def content(network: "Network") -> bytes:
        return write(_good(network)).replace(b"VOX_MESH_TOKEN", b"VOX_MESH_BOOTSTRAP_TOKEN")

    def prove(network: "Network") -> None:
        must(asks.content(network.names.files("a") / _TOKEN) == content(network), f"the token's file has no {word}")

    def expected(setup: Setup) -> Truth:
        # The token in it is unspent as long as nobody sends it as it is.
        deciding = Deciding("problem", word)
        if kind in LOST:
            return Truth(MALFORMED, "control", place=_AT, deciding=deciding, where="control host")
        heals: Healer = "nothing" if kind in BY_HAND else "command"
        return Truth(MALFORMED, "control", place=_AT, deciding=deciding, heals=heals)

    return Fault(
        name=f"token-{kind}",
        summary=f"the file with the one-time token: {word}",
        place=_AT,
        made=lambda setup: (asks.written(f"the one-time token's file: {word}", _TOKEN, content),),
        expected=expected,
        proof=prove,
        excluded=asks.needs_control,
    )


def _mesh_line(network: "Network") -> bytes:
    return f"{asks.mesh_token(network)}\n".encode()


def _is_mesh_token(network: "Network") -> None:
    """It is the very bearer that a holds."""
    given, own = (asks.content(network.names.files("a") / name) for name in (_TOKEN, "token"))
    must(given == own == _mesh_line(network), "the one-time token is not the mesh token")


def _refused(name: str, condition: Bootstrap, code: str, status: int, summary: str) -> Fault:
    """The control plane does not take the token, and another one can only be made there."""

    def prove(network: "Network") -> None:
        # An expired token and a spent one get the same answer, so the deadline shows which it is.
        ends_ms = asks.settings(network, "control")["control_plane"].get("bootstrap_expires_unix_ms")
        must((ends_ms is not None) is (condition == "expired"), "the token has another deadline")
        token = asks.content(network.names.files("a") / _TOKEN).decode().strip()
        got = ask(network, EXCHANGE, {"bootstrap_token": token})
        must((got.status, got.populi) == (status, True), f"an exchange: {got.status or got.text}")

    return Fault(
        name=name,
        summary=summary,
        place=_AT,
        made=lambda setup: (planned(summary, loopback=True, bootstrap=condition),),
        expected=lambda setup: Truth(code, "control", place=_AT, where="control host"),
        proof=prove,
        excluded=asks.needs_control,
    )


FAULTS = (
    *map(_written, WRITINGS),
    Fault(
        name="token-mesh",
        summary="the file with the one-time token holds the mesh token",
        place=_AT,
        made=lambda setup: (asks.written("the mesh token is in the wrong file", _TOKEN, _mesh_line),),
        expected=lambda setup: Truth(
            MALFORMED, "control", place=_AT, deciding=Deciding("problem", "mesh token"), where="control host"
        ),
        proof=_is_mesh_token,
        excluded=asks.needs_control,
    ),
    _refused("token-spent", "spent", "enroll.bootstrap-spent", 410, "another node used the one-time token"),
    _refused("token-expired", "expired", "enroll.bootstrap-spent", 410, "the one-time token expired an hour ago"),
    _refused("token-invalid", "invalid", "enroll.bootstrap-invalid", 401, "nobody made this one-time token"),
    _refused("token-disabled", "disabled", "enroll.bootstrap-disabled", 404, "the control plane has no one-time token"),
)
