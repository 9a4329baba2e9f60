"""Faults of OpenVPN's own session: certificates, keys and options that its two ends do not share, and a server that
is gone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.certificates import sign_identity, trust_another
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.stations import outside, proofs, words
from preflight.lab.stations.daemons import ANSWERED, COMPLETED, changed_openvpn, end, openvpn_again
from preflight.lab.stations.fault import Fault
from preflight.lab.topology import underlay_address
from preflight.lab.truth import Deciding, Healer, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_TUNNEL, _SESSION = Place("packet", "tunnel", "sender"), Place("packet", "session", "sender")
_ASKED = "link remote: "
"""What OpenVPN says when it begins to call its remote end."""


def _only_openvpn(setup: Setup) -> str | None:
    return None if setup.product == "openvpn" else "this product has no such certificates, keys and options"


def _part(summary: str, change: "Callable[[Network], None]", until: str) -> Part:
    """a's OpenVPN starts again after a change."""

    def inject(network: "Network") -> None:
        change(network)
        openvpn_again(network, "a", until)

    return Part(summary, inject=inject)


def _signed(*, expired: bool = False, foreign: bool = False) -> "Callable[[Network], None]":
    def change(network: "Network") -> None:
        names = network.names
        sign_identity(names.files("a"), "a", names.directory, expired=expired, foreign=foreign)

    return change


def _distrust(network: "Network") -> None:
    trust_another(network.names.files("a"))


def _with(*lines: str) -> "Callable[[Network], None]":
    return lambda network: changed_openvpn(network, "a", *lines)


def _another_key(network: "Network") -> None:
    """The server has none; for a client it is the same as another one: its packets are dropped in silence."""
    key = network.names.files("a") / "tls-crypt.key"
    run([program("openvpn"), "--genkey", "tls-crypt", str(key)])
    changed_openvpn(network, "a", f"tls-crypt {key}")


def _server_stopped(network: "Network") -> None:
    end(network, network.plan.vpn_server)


def _known_to_root(code: str, heals: Healer = "nothing") -> Callable[[Setup], Truth]:
    """The daemon's log has it, which only root sees; for others there is no device of that name."""

    def expected(setup: Setup) -> Truth:
        if setup.user != "root":
            return Truth("overlay.absent", "node", place=_TUNNEL)
        return Truth(code, "node", place=_TUNNEL, heals=heals)

    return expected


def _compression_is(setup: Setup) -> Truth:
    if setup.user != "root":
        return words.silence(setup, "round-trip", heals="file", where="node")
    return Truth("overlay.policy-drop", "node", place=_SESSION, heals="file", vague=(words.UNREACHABLE,))


def _stopped_is(setup: Setup) -> Truth:
    """Its host refuses what comes to the port. Under which name its unit starts it again, only that host knows."""
    plan = outside.plan_of(setup)
    refuses = Deciding("offender", underlay_address(plan.vpn_server, outside.family_of(plan)))
    return words.dead(setup, "round-trip", deciding=refuses, heals="nothing", where="peer")


def _fault(
    name: str, part: Part, expected: Callable[[Setup], Truth], *, place: Place = _TUNNEL, proof: proofs.Proof
) -> Fault:
    return Fault(
        name=f"session-openvpn-{name}",
        summary=part.summary,
        place=place,
        made=lambda setup: (part,),
        expected=expected,
        proof=proof,
        excluded=_only_openvpn,
        alone=True,  # what a sends to all others goes through this one session
    )


_DIES = proofs.each_of(proofs.dies("a", "b"), proofs.dies("b", "a"))

FAULTS = (
    _fault(
        "own-expired",
        _part("a's certificate of OpenVPN has expired", _signed(expired=True), ANSWERED),
        _known_to_root("overlay.key-expired"),
        proof=_DIES,
    ),
    _fault(
        "own-foreign",
        _part(
            "a's certificate of OpenVPN is of an authority that the server does not know",
            _signed(foreign=True),
            ANSWERED,
        ),
        _known_to_root("overlay.not-joined"),
        proof=_DIES,
    ),
    _fault(
        "server-foreign",
        _part("a's OpenVPN does not know the authority of its server", _distrust, "VERIFY ERROR"),
        _known_to_root("overlay.not-joined"),
        proof=_DIES,
    ),
    _fault(
        "key",
        _part("a's OpenVPN has a tls-crypt key that its server does not have", _another_key, _ASKED),
        _known_to_root("overlay.not-joined"),
        proof=_DIES,
    ),
    _fault(
        "cipher",
        _part("a's OpenVPN has no cipher of its server", _with("data-ciphers AES-256-CBC"), "AUTH_FAILED"),
        _known_to_root("overlay.not-authorized", "file"),
        proof=_DIES,
    ),
    _fault(
        "compression",
        _part(
            "a's OpenVPN compresses, and its server does not",
            _with("allow-compression yes", "comp-lzo yes"),
            COMPLETED,
        ),
        _compression_is,
        place=_SESSION,
        proof=_DIES,
    ),
    _fault(
        "server-stopped",
        Part("a's OpenVPN server was stopped", inject=_server_stopped),
        _stopped_is,
        place=Place("packet", "socket-outer", "receiver"),
        proof=_DIES,
    ),
)
