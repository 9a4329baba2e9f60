"""Faults of sessions in products other than WireGuard: Nebula's firewall, and VXLAN's table of remote ends."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from preflight.lab import processes
from preflight.lab.axes.setup import Setup
from preflight.lab.names import LabError
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.stations import proofs, words
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.making import OTHER, device
from preflight.lab.topology import underlay_address
from preflight.lab.truth import Deciding, Place, Truth
from preflight.model.host_port import join_host_port

if TYPE_CHECKING:
    from preflight.lab.network import Network

_SENDER, _RECEIVER = Place("packet", "session", "sender"), Place("packet", "session", "receiver")
_CONFIG = "/etc/nebula/config.yml"
_VXLAN_PORT = 4789
_READ_AGAIN_S, _LOOK_S = 5.0, 0.01
_ANY = {"port": "any", "host": "any"}
_PEOPLE = ({**_ANY, "proto": "icmp"}, {**_ANY, "proto": "tcp"})
"""What a policy for people lets in."""


def _only_nebula(setup: Setup) -> str | None:
    return None if setup.product == "nebula" else "this product has no firewall inside its sessions"


def _policy(node: str, direction: str, rules: Sequence[Mapping[str, str]]) -> Part:
    """A member's Nebula lets only this through, from now on. direction: `inbound` or `outbound`."""

    def inject(network: "Network") -> None:
        path = network.names.etc(node) / "nebula" / "config.yml"
        config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        config["firewall"][direction] = [dict(rule) for rule in rules]
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        _read_again(network, node)

    return Part(f"{node}'s Nebula does not let all of it through: {direction}", inject=inject)


def _read_again(network: "Network", node: str) -> None:
    """Let a member's Nebula read its configuration again, and wait until it has a new firewall."""
    mark, log = network.names.mark(f"tunnel-{node}"), network.names.files(node) / "nebula.log"
    news = "New firewall has been installed"
    before = log.read_text(encoding="utf-8", errors="replace").count(news)
    processes.notify(lambda pid: processes.mark_of(pid) == mark, signal.SIGHUP)
    deadline = time.monotonic() + _READ_AGAIN_S
    while log.read_text(encoding="utf-8", errors="replace").count(news) <= before:
        if time.monotonic() > deadline:
            raise LabError(f"{node}'s Nebula has not read its configuration again")
        time.sleep(_LOOK_S)


def _outbound_here(setup: Setup) -> Truth:
    deciding = Deciding("file", _CONFIG)
    return words.here(setup, words.NO_FORWARD, "session", deciding=deciding, privileged=True)


def _inbound_there(setup: Setup) -> Truth:
    return words.there(setup, "session")


def _udp_there(setup: Setup) -> Truth:
    return words.udp_there(setup, "session")


def _nebula(
    name: str,
    part: Part,
    place: Place,
    expected: Callable[[Setup], Truth],
    proof: proofs.Proof,
    excluded: Callable[[Setup], str | None] = _only_nebula,
) -> Fault:
    return Fault(
        name=f"session-{name}",
        summary=part.summary,
        place=place,
        made=lambda setup: (part,),
        expected=expected,
        proof=proof,
        excluded=excluded,
    )


def _udp_excluded(setup: Setup) -> str | None:
    if not setup.keyed:
        return "without a responder with a key b's UDP is not judged"
    return _only_nebula(setup)


_TO_C = ({"port": "any", "proto": "any", "host": "c"},)

_NEBULA = (
    _nebula(
        "outbound", _policy("a", "outbound", _TO_C), _SENDER, _outbound_here, proofs.dies_between_the_taps("a", "b")
    ),
    _nebula(
        "inbound-there",
        _policy("b", "inbound", _TO_C),
        _RECEIVER,
        _inbound_there,
        proofs.dies_between_the_taps("a", "b"),
    ),
    _nebula(
        "inbound-udp-there",
        _policy("b", "inbound", _PEOPLE),
        _RECEIVER,
        _udp_there,
        proofs.dies_between_the_taps("a", "b"),
        _udp_excluded,
    ),
)


# VXLAN


def _wrong_end(node: str) -> Part:
    """A member's VXLAN sends what is for the other one to c, and takes nothing from elsewhere for it."""
    peer = OTHER[node]

    def inject(network: "Network") -> None:
        address = network.command(peer, program("cat"), f"/sys/class/net/{network.names.tunnel(peer)}/address")
        hardware = run(address).strip()
        where = ("dev", device(network, node, peer), "dst", _underlay(network, "c"))
        run(network.command(node, program("bridge"), "fdb", "replace", hardware, *where, "self", "permanent"))

    return Part(f"{node}'s VXLAN has c's underlay address for {peer}", inject=inject)


def _underlay(network: "Network", node: str) -> str:
    return underlay_address(node, network.plan.underlay)


_WRONG_END = Deciding("endpoint", lambda network: join_host_port(_underlay(network, "c"), _VXLAN_PORT))


def _wrong_end_here(setup: Setup) -> Truth:
    # The kernel does not learn against a permanent entry: frames of b from elsewhere are dropped too. Only root sees
    # them come, and a container does not see its host's uplink.
    if setup.user != "root" or setup.namespace == "container":
        return words.silence(setup, "round-trip")
    return Truth(words.UNREACHABLE, "b", "round-trip", place=_SENDER, deciding=_WRONG_END, heals="command")


def _wrong_end_there(setup: Setup) -> Truth:
    if not words.observed(setup):
        return words.silence(setup, "round-trip")
    place, deciding = _RECEIVER, _WRONG_END
    return Truth(words.UNREACHABLE, "b", "round-trip", place=place, deciding=deciding, heals="command", where="peer")


def _only_vxlan(setup: Setup) -> str | None:
    return None if setup.product == "vxlan" else "this product has no table of its peers' hardware addresses"


def _vxlan(node: str, suffix: str, place: Place, expected: Callable[[Setup], Truth]) -> Fault:
    part = _wrong_end(node)
    return Fault(
        name=f"session-wrong-end{suffix}",
        summary=part.summary,
        place=place,
        made=lambda setup: (part,),
        expected=expected,
        proof=proofs.each_of(proofs.dies_between_the_taps("a", "b"), proofs.comes_out("b", "a", no=True)),
        excluded=_only_vxlan,
    )


_VXLAN = (_vxlan("a", "", _SENDER, _wrong_end_here), _vxlan("b", "-there", _RECEIVER, _wrong_end_there))

FAULTS = (*_NEBULA, *_VXLAN)
