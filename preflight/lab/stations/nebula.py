"""Faults of Nebula's own session: certificates that somebody does not accept, another cipher, and members that nobody
finds.
"""

import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from preflight.lab.axes.setup import Setup
from preflight.lab.names import LabError
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.stations import outside, proofs, words
from preflight.lab.stations.daemons import LOOK_S, READY_S, changed_nebula, end, nebula_again
from preflight.lab.stations.fault import Fault
from preflight.lab.topology import TUNNEL_PORT, underlay_address
from preflight.lab.truth import Deciding, Place, Truth
from preflight.lab.tunnels import nebula_authority, sign_nebula, start_nebula
from preflight.model.host_port import join_host_port

if TYPE_CHECKING:
    from preflight.lab.network import Network

_TUNNEL, _SESSION = Place("packet", "tunnel", "sender"), Place("packet", "session", "sender")
_THERE = Place("packet", "session", "receiver")
_NO_SESSION = "overlay.no-handshake"
_SHORT_S = 1


def _only_nebula(setup: Setup) -> str | None:
    return None if setup.product == "nebula" else "this product has no certificates and configuration of Nebula's kind"


# This node's certificate


def _expired(network: "Network") -> None:
    """A certificate that has expired when nebula starts again: it refuses to."""
    end(network, "a")
    sign_nebula(network, "a", life=f"{_SHORT_S}s")
    crt, ca = network.names.files("a") / "nebula.crt", network.names.directory / "nebula-ca.crt"
    deadline = time.monotonic() + READY_S
    while _holds(str(crt), str(ca)):
        if time.monotonic() > deadline:
            raise LabError("a's certificate does not expire")
        time.sleep(LOOK_S)
    start_nebula(network, "a")


def _holds(certificate: str, authority: str) -> bool:
    argv = [program("nebula-cert"), "verify", "-crt", certificate, "-ca", authority]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def _foreign(network: "Network") -> None:
    nebula_authority(network, "nebula-other")
    sign_nebula(network, "a", "nebula-other")
    nebula_again(network, "a")


def _known_to_root(code: str, place: Place) -> Callable[[Setup], Truth]:
    """Its configuration names its certificate, and only root reads that."""

    def expected(setup: Setup) -> Truth:
        if setup.user != "root":
            return words.silence(setup, "round-trip", heals="nothing", where="node")
        return Truth(code, "node", place=place)

    return expected


# What the others do not accept


def _blocked(network: "Network") -> None:
    """b's Nebula starts again with a's certificate on its list of those that it does not accept."""
    argv = [program("nebula-cert"), "print", "-json", "-path", str(network.names.files("a") / "nebula.crt")]
    fingerprint = run(argv).partition('"fingerprint":"')[2].partition('"')[0]
    if not fingerprint:
        raise LabError("a's certificate has no fingerprint")

    def change(config: dict[str, Any]) -> None:
        config["pki"]["blocklist"] = [fingerprint]

    changed_nebula(network, "b", change)
    nebula_again(network, "b")


def _blocked_is(setup: Setup) -> Truth:
    """Nothing comes back of what a calls, and only b's log has the reason."""
    if setup.user != "root":
        return words.silence(setup, "round-trip", heals="file")
    return Truth(_NO_SESSION, "b", heals="file", where="peer", vague=(words.UNREACHABLE,))


def _other_cipher(network: "Network") -> None:
    changed_nebula(network, "a", lambda config: config.update(cipher="chachapoly"))
    nebula_again(network, "a")


def _cipher_is(setup: Setup) -> Truth:
    """What a does not decrypt of b it does not of c either: no member has a's cipher."""
    if setup.user != "root":
        return words.silence(setup, "round-trip", heals="file", where="node")
    return Truth("overlay.unhealthy", "node", place=_SESSION, heals="file", vague=(_NO_SESSION, words.UNREACHABLE))


# Who is where


def _alone(network: "Network") -> None:
    """b has no address of a, and forgets the one that it learned: nobody calls a."""

    def change(config: dict[str, Any]) -> None:
        config["static_host_map"].pop(network.plan.address("a", 4), None)

    changed_nebula(network, "b", change)
    end(network, "a")
    nebula_again(network, "b")


def _elsewhere(network: "Network") -> None:
    """a has c's place for b."""

    def change(config: dict[str, Any]) -> None:
        config["static_host_map"][network.plan.address("b", 4)] = [_place(network, "c")]

    changed_nebula(network, "a", change)
    _alone(network)
    nebula_again(network, "a")


def _place(network: "Network", node: str) -> str:
    return join_host_port(underlay_address(node, outside.family_of(network.plan)), TUNNEL_PORT)


def _elsewhere_is(setup: Setup) -> Truth:
    """c answers there, with its own certificate; where b is nobody here knows."""
    if setup.user != "root":
        return words.silence(setup, "round-trip", heals="nothing", where="node")
    deciding = Deciding("endpoint", lambda network: _place(network, "c"))
    return Truth(_NO_SESSION, "b", deciding=deciding, vague=(words.UNREACHABLE,))


def _stopped_there_is(setup: Setup) -> Truth:
    """b's host refuses what comes to the port, and a's log has handshakes that nobody completes.

    Under which name its unit starts b's again, only that host knows.
    """
    refuses = Deciding("offender", underlay_address("b", outside.family_of(outside.plan_of(setup))))
    return words.never_up(setup, deciding=refuses, heals="nothing", where="peer")


def _no_lighthouse(network: "Network") -> None:
    """a knows where its lighthouse c is, and nothing else; c's Nebula was stopped."""

    def change(config: dict[str, Any]) -> None:
        lighthouse = network.plan.address("c", 4)
        config["static_host_map"] = {lighthouse: [_place(network, "c")]}
        config["lighthouse"] = {"am_lighthouse": False, "hosts": [lighthouse]}

    changed_nebula(network, "a", change)
    end(network, "c")
    _alone(network)
    nebula_again(network, "a")


def _no_lighthouse_is(setup: Setup) -> Truth:
    if setup.user != "root":
        return words.silence(setup, "round-trip", where="control host")
    return Truth("overlay.offline", "node", place=_SESSION, vague=(words.UNREACHABLE,))


def _fault(
    name: str,
    summary: str,
    inject: "Callable[[Network], None]",
    expected: Callable[[Setup], Truth],
    *,
    place: Place = _SESSION,
) -> Fault:
    part = Part(summary, inject=inject)
    return Fault(
        name=f"session-nebula-{name}",
        summary=summary,
        place=place,
        made=lambda setup: (part,),
        expected=expected,
        proof=proofs.dies("a", "b"),
        excluded=_only_nebula,
        alone=True,
    )


FAULTS = (
    _fault(
        "own-expired",
        "a's certificate of Nebula has expired",
        _expired,
        _known_to_root("overlay.key-expired", _TUNNEL),
        place=_TUNNEL,
    ),
    _fault(
        "own-foreign",
        "a's certificate of Nebula is of an authority that no member knows",
        _foreign,
        _known_to_root("overlay.not-authorized", _TUNNEL),
    ),
    _fault("blocked-there", "b's Nebula has a's certificate in its blocklist", _blocked, _blocked_is, place=_THERE),
    _fault("cipher", "a's Nebula has another cipher than all others", _other_cipher, _cipher_is),
    _fault(
        "stopped-there",
        "b's Nebula was stopped",
        lambda network: end(network, "b"),
        _stopped_there_is,
        place=Place("packet", "socket-outer", "receiver"),
    ),
    _fault("wrong-host", "a's Nebula has c's place for b, and b does not call a", _elsewhere, _elsewhere_is),
    _fault("lighthouse-stopped", "a's Nebula asks a lighthouse that was stopped", _no_lighthouse, _no_lighthouse_is),
)
