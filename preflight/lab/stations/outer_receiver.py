"""Faults where a tunnel's packets come in: reverse-path filters, and the socket of the tunnel itself."""

from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab import faults
from preflight.lab.axes.setup import Setup
from preflight.lab.names import ROUTER, LabError
from preflight.lab.network import UNDERLAY, inside, set_sysctl
from preflight.lab.processes import program, start, wait_for_words
from preflight.lab.stations import outside, outside_packets
from preflight.lab.stations import outside_proofs as proofs
from preflight.lab.stations.outer_filters import NOTE
from preflight.lab.stations.outside import ip, leaving, own_uplink
from preflight.lab.stations.proofs import handle_of
from preflight.lab.stations.sides import OTHER, on_both_sides
from preflight.lab.stations.words import at_receiver, by_own_rule, dead, observed
from preflight.lab.topology import underlay_address
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

_LAN = "lan1"
_NUMBER = {"a": 1, "b": 2}
_SYSCTL = f"net.ipv4.conf.{UNDERLAY}.rp_filter"
_READY_S = 10.0
_RP = Place("packet", "rp-outer", "receiver")
_PREROUTING = Place("packet", "prerouting-outer", "receiver")


# A second way out, by which the answers leave


def _second_way(network: "Network", node: str) -> None:
    """The node reaches its remote end by another link, under the same address; what comes to it takes the old one."""
    way, there = leaving(network, node), f"to-{node}-{_LAN}"
    prefix, length = (f"fdc9:0:0:9{_NUMBER[node]}::", 64) if ":" in way.address else (f"10.203.{_NUMBER[node]}.", 24)
    # One that carries less than the tunnel's own packets would be a second fault.
    size = ["mtu", str(network.plan.link_mtu)]
    peer = ["peer", "name", there, *size, "netns", network.names.namespace(ROUTER)]
    ip(network, node, "link", "add", _LAN, *size, "type", "veth", *peer)
    for where, device, number in ((node, _LAN, 2), (ROUTER, there, 1)):
        ip(network, where, "addr", "add", f"{prefix}{number}/{length}", "dev", device, *_at_once(prefix))
        ip(network, where, "link", "set", device, "up")
    ip(network, node, "route", "replace", way.host, "via", f"{prefix}1", "dev", _LAN, "src", way.source)


def _at_once(prefix: str) -> list[str]:
    return ["nodad"] if ":" in prefix else []


def _strict(network: "Network", node: str) -> None:
    _second_way(network, node)
    with inside(network.names.namespace(node)):
        # The larger of `all` and the interface's value counts.
        set_sysctl("net/ipv4/conf/all/rp_filter", 0)
        set_sysctl(_SYSCTL.replace(".", "/"), 1)


def _strict_rule(network: "Network", node: str) -> None:
    back = leaving(network, node).back
    _second_way(network, node)
    rule = f'{back} fib saddr . iif oif missing counter drop comment "{NOTE}"'
    chain = f"type filter hook prerouting priority -290; {rule};"
    outside.table(network, node, f"table inet outside {{ chain prerouting {{ {chain} }}; }}")


def _strict_is(setup: Setup, node: str) -> Truth:
    truth = at_receiver(setup, node, "rp-outer", Deciding("sysctl", _SYSCTL))
    if node == "b" and observed(setup, outer=True):
        return replace(truth, code="host.rp-filter", vague=("reach.unreachable", truth.code))
    if node == "a" and setup.user != "root" and setup.families != "ipv6":
        # Everyone may read the setting, and the counter of what it drops while b is silent; only root sees whose it is.
        return Truth("host.rp-filter", "node", heals="command", vague=("reach.unreachable", truth.code))
    return by_own_rule(setup, node, truth, "host.rp-filter")


def _strict_rule_is(setup: Setup, node: str) -> Truth:
    truth = at_receiver(setup, node, "prerouting-outer", Deciding("rule_handle", handle_of("a", NOTE)))
    return by_own_rule(setup, node, truth)


def _one_way_out(setup: Setup, node: str) -> str | None:
    if node == "a" and setup.uplinks != "one":
        return "packets from an uplink's address have their own routes"
    if node == "a" and setup.nat != "none":
        return "a second way would go past the translation"
    return own_uplink(setup, node)


def _strict_excluded(setup: Setup, node: str) -> str | None:
    if outside.family_of(outside.plan_of(setup)) == 6:
        return "the kernel filters by the reverse path for IPv4 only"
    return _one_way_out(setup, node)


def _dies_inside(node: str) -> "Proof":
    return proofs.all_of(proofs.passes(node, OTHER[node]), proofs.dies_behind_the_wire(OTHER[node], node))


# The tunnel's socket


def _two_tunnels(network: "Network", node: str) -> None:
    """Another WireGuard has the tunnel's port, and the tunnel has no socket."""
    tunnel, other = outside.tunnel_to_remote_end(network, node), f"{network.names.tunnel(node)}2"
    port = network.wg(node, "show", tunnel, "listen-port").strip()
    log, mark = network.names.files(node) / "second-wireguard.log", network.names.mark(f"second-tunnel-{node}")
    argv = network.command(node, program("wireguard-go"), "-f", other)
    daemon = start("the second WireGuard", argv, mark=mark, log=log, environment={"LOG_LEVEL": "verbose"})
    wait_for_words(daemon, "UAPI listener started", 1, proofs.deadline(_READY_S))
    network.wg(node, "set", tunnel, "listen-port", "0")
    network.wg(node, "set", other, "listen-port", port)
    ip(network, node, "link", "set", other, "up")
    wait_for_words(daemon, "UDP bind has been updated", 1, proofs.deadline(_READY_S))
    try:
        network.wg(node, "set", tunnel, "listen-port", port)
    except LabError:
        return  # as meant: the address is in use
    raise LabError(f"{node} has two tunnels on port {port}")


def _two_tunnels_is(setup: Setup, node: str) -> Truth:
    if node == "b":
        return dead(setup, "round-trip", where="peer")
    taken = Deciding("port", outside.port_of(outside.plan_of(setup)))
    truth = dead(setup, "round-trip", place=Place("packet", "wire"), deciding=taken)
    if setup.user != "root":  # the tunnel's state is root's to read
        return truth
    return replace(truth, code="overlay.port-conflict", direction=None, vague=(truth.code,))


def _two_tunnels_excluded(setup: Setup, node: str) -> str | None:
    if setup.product != "wireguard":
        return "the lab has one daemon of this product at a node"
    return own_uplink(setup, node)


def _silent(node: str) -> "Proof":
    return proofs.all_of(proofs.dies_before_the_wire(node, OTHER[node]), proofs.dies(OTHER[node], node))


def _gone(network: "Network", node: str) -> None:
    faults.tunnel_missing(node).inject(network)


def _gone_is(setup: Setup, node: str) -> Truth:
    plan = outside.plan_of(setup)
    refuses = Deciding("offender", underlay_address(node, outside.family_of(plan)))
    # What makes b's tunnel again, and under which name, went with it: b's responder has no address left to say it from.
    return dead(setup, "round-trip", deciding=refuses, heals="nothing", where="peer")


def _gone_excluded(setup: Setup, node: str) -> str | None:
    if outside.through_a_third(setup):
        return "what b refuses comes from a third member"
    # Its daemon holds the port until it ends, and a device that is deleted does not end it.
    return "the lab's Nebula goes on without its device" if setup.product == "nebula" else None


def _refuses(node: str) -> "Proof":
    def prove(network: "Network") -> None:
        outside_packets.refused_by(underlay_address(node, outside.family_of(network.plan)))(network)

    return prove


FAULTS = (
    *on_both_sides(
        "rp-outer",
        "strict",
        "the strict reverse-path filter of {node}'s uplink drops its tunnel's packets: it answers by another link",
        step=_strict,
        expected=_strict_is,
        proof=_dies_inside,
        excluded=_strict_excluded,
    ),
    *on_both_sides(
        "prerouting-outer",
        "fib",
        "a rule on {node} drops what comes in by another link than its answers leave by",
        step=_strict_rule,
        expected=_strict_rule_is,
        proof=lambda node: proofs.dies_behind_the_wire(OTHER[node], node),
        excluded=_one_way_out,
    ),
    *on_both_sides(
        "wire",
        "two-tunnels",
        "another tunnel of {node} has the UDP port, so that this one has no socket",
        step=_two_tunnels,
        expected=_two_tunnels_is,
        proof=_silent,
        excluded=_two_tunnels_excluded,
        alone="a",
    ),
    *on_both_sides(
        "socket-outer",
        "gone",
        "{node}'s tunnel is gone, and its host refuses what comes to the port",
        step=_gone,
        expected=_gone_is,
        proof=_refuses,
        excluded=_gone_excluded,
        nodes="b",
    ),
)
