"""Faults of routes inside the tunnel: what a sends and what b answers, refused or sent elsewhere by the own tables."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from preflight.lab import routes
from preflight.lab.axes.setup import Setup
from preflight.lab.network import UNDERLAY
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.stations import proofs, words
from preflight.lab.stations.daemons import COMPLETED, openvpn_again
from preflight.lab.stations.fault import Fault, anywhere
from preflight.lab.stations.making import commands, device, home, once, ruleset
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_LEAK = "overlay.route-leak"
_PLACE = Place("packet", "route", "sender")
_TYPES = ("blackhole", "unreachable", "prohibit")
_OTHER_VPN = "vpn0"
_TO_LAN = "route replace $peer/$length via $gateway dev $lan"
_UDP_TO_LAN = (
    "route add $peer/$length via $gateway dev $lan table 177",
    "rule add to $peer/$length ipproto udp lookup 177 pref 90",
)
_FORGOTTEN = "a has no route to b into the tunnel, and its packets leave by the default route if there is one"


def _here(
    name: str,
    summary: str,
    parts: Sequence[Part],
    deciding: Deciding,
    *,
    code: str = _LEAK,
    excluded: Callable[[Setup], str | None] = anywhere,
    alone: bool = False,
    proof: proofs.Proof | None = None,
) -> Fault:
    """A fault of a's tables. deciding: what the look-up for b says; everyone may ask the kernel for it."""
    return Fault(
        name=f"route-{name}",
        summary=summary,
        place=_PLACE,
        made=lambda setup: (*parts,),
        expected=lambda setup: words.here(setup, code, "route", deciding=deciding),
        proof=proof or proofs.never_leaves("a", "b"),
        excluded=excluded,
        alone=alone,
    )


def _type_here(kind: str) -> Fault:
    summary = f"a's route to b is of type {kind}"
    lines = f"route replace {kind} $peer/$length"
    return _here(kind, summary, (commands(summary, "a", lines),), Deciding("route_type", kind), code=words.NO_FORWARD)


def _forgotten(setup: Setup) -> tuple[Part, ...]:
    if setup.routes in ("host", "per-peer"):
        return (commands(_FORGOTTEN, "a", "route del $peer/$length dev $tunnel"),)
    # c keeps its way, as if each peer had a separate route and b's had been forgotten.
    each = ("route replace $third/$length dev $tunnel", "route del $prefix dev $tunnel")
    return (commands(_FORGOTTEN, "a", *each),)


def _forgotten_is(setup: Setup) -> Truth:
    if setup.namespace == "container":
        return words.here(setup, words.NO_FORWARD, "route", deciding=Deciding("route_type", "none"))
    return words.here(setup, _LEAK, "route", deciding=Deciding("interface", UNDERLAY))


def _only_one_way(setup: Setup) -> str | None:
    return "another route leads to b through the tunnel too" if setup.routes in ("default", "halves") else None


def _only_main(setup: Setup) -> str | None:
    if setup.families == "ipv6":
        return "the kernel does not ask IPv6's rules for its main table, unless some were added"
    return "another table leads to b" if setup.routes == "default" else None


def _bound_sources(setup: Setup) -> str | None:
    return words.without_uplink(setup) or (
        "VXLAN carries packets with any source" if setup.product == "vxlan" else None
    )


_UPLINK = Deciding("interface", UNDERLAY)
_CHOSEN = Deciding("source", lambda network: home(network, "a", network.plan.families[0]))
_RULE = "a rule of a prohibits packets to b"
_LEAKED = "a more specific route sends what is for b to a's uplink"
_UDP_LEAKED = "a rule sends UDP for b to a's uplink, and nothing else"
_MARKED = "a rule of a's firewall marks what is for b, and the mark leads to a's uplink"
_MARK = 8
_CLAIMED = "another VPN of a claims b's address"
_SOURCE = "a's route to b chooses the address of the uplink as the source"
_MAIN_GONE = "the rule that leads to a's main table is gone"


def _same_prefix(network: "Network") -> None:
    """Of two routes to one prefix the older one wins, so the tunnel's is made again: by OpenVPN itself, as its server
    pushes it.
    """
    overlay = ip_network(network.plan.prefixes[4])
    own, tunnel = network.plan.address("a", 4), device(network, "a", "b")
    lines = [f"address add {overlay[_LAN_HOST]}/{overlay.prefixlen} dev {UNDERLAY}"]
    if network.plan.product != "openvpn":
        lines += [f"address {verb} {own}/{overlay.prefixlen} dev {tunnel}" for verb in ("del", "add")]
    run(network.command("a", program("ip"), "-batch", "-"), text="".join(f"{line}\n" for line in lines))
    if network.plan.product == "openvpn":
        openvpn_again(network, "a", COMPLETED)


_LAN_HOST = 77


def _same_prefix_is(setup: Setup) -> Truth:
    # Which of the two networks gets other addresses is a decision; each peer in both of them is named.
    less = (_LEAK, words.UNREACHABLE, words.NO_FORWARD)
    return Truth("overlay.subnet-conflict", "b", "forward", place=_PLACE, deciding=_UPLINK, vague=less)


def _same_prefix_excluded(setup: Setup) -> str | None:
    if setup.families == "ipv6":
        return "a's LAN has IPv4 addresses only"
    if setup.product == "nebula":
        return "Nebula puts its own route in the place of the LAN's"
    if setup.routes not in ("subnet", "wider"):
        return "the overlay's prefix is on no interface of a that the lab sets up itself"
    return None if setup.namespace == "host" else "the LAN is not in the tunnel's namespace"


def _marked() -> tuple[Part, ...]:
    away = ("route add $peer/$length via $gateway dev $lan table 177", f"rule add fwmark {_MARK} lookup 177 pref 90")
    table = "table inet marks { chain output { type route hook output priority mangle; }; }"
    mark = f"add rule inet marks output $ip daddr $peer meta mark set {_MARK}"
    return commands(_MARKED, "a", *away), ruleset(_MARKED, "a", table, mark)


def _marked_excluded(setup: Setup) -> str | None:
    if setup.firewall != "open":
        return "a's firewall sees the device of the look-up before the mark, and lets nothing of the overlay out there"
    return words.without_uplink(setup)


_HERE = (
    *(_type_here(kind) for kind in _TYPES),
    _here(
        "rule",
        _RULE,
        (commands(_RULE, "a", "rule add to $peer/$length pref 90 prohibit"),),
        Deciding("route_type", "prohibit"),
        code=words.NO_FORWARD,
    ),
    replace(
        _here("forgotten", _FORGOTTEN, (), _UPLINK, excluded=_only_one_way), made=_forgotten, expected=_forgotten_is
    ),
    _here("to-uplink", _LEAKED, (commands(_LEAKED, "a", _TO_LAN),), _UPLINK, excluded=words.without_uplink),
    _here(
        "udp-to-uplink",
        _UDP_LEAKED,
        (commands(_UDP_LEAKED, "a", *_UDP_TO_LAN),),
        _UPLINK,
        excluded=words.without_uplink,
    ),
    replace(
        _here("marked-to-uplink", _MARKED, _marked(), _UPLINK, excluded=_marked_excluded),
        expected=lambda setup: words.here(setup, _LEAK, "route", deciding=_UPLINK, privileged=True),
    ),
    _here(
        "other-vpn",
        _CLAIMED,
        (
            once(_CLAIMED, "a", f"tuntap add dev {_OTHER_VPN} mode tun", f"link set {_OTHER_VPN} up"),
            commands(_CLAIMED, "a", f"route replace $peer/$length dev {_OTHER_VPN}"),
        ),
        Deciding("interface", _OTHER_VPN),
    ),
    _here(
        "source",
        _SOURCE,
        (commands(_SOURCE, "a", "route replace $peer/$length dev $tunnel src $home"),),
        _CHOSEN,
        code="overlay.wrong-source",
        excluded=_bound_sources,
        proof=proofs.dies_between_the_taps("a", "b"),
    ),
    _here(
        "main-gone",
        _MAIN_GONE,
        (commands(_MAIN_GONE, "a", "rule del pref 32766", families=(4,)),),
        Deciding("route_type", "none"),
        code=words.NO_FORWARD,
        excluded=_only_main,
        alone=True,
    ),
    Fault(
        name="route-subnet",
        summary="a's LAN uses the overlay's prefix, and its route is older than the tunnel's",
        place=_PLACE,
        made=lambda setup: (Part("a's LAN uses the overlay's prefix", inject=_same_prefix),),
        expected=_same_prefix_is,
        proof=proofs.never_leaves("a", "b"),
        excluded=_same_prefix_excluded,
        alone=True,
    ),
)


# What b answers


def _strict(setup: Setup) -> str | None:
    if setup.filter == "strict" and setup.families != "ipv6":
        return "b's strict filter drops what comes from where no route leads back to: a fault of the station rp"
    return None


def _leaks_there(setup: Setup) -> Truth:
    return words.answers_there(setup, "route", code=_LEAK, deciding=Deciding("interface", UNDERLAY), reported=True)


def _udp_leaks_there(setup: Setup) -> Truth:
    if words.told(setup):
        return _leaks_there(setup)
    # Echo requests are answered, so a sees that only UDP dies, and not in which direction.
    return Truth("udp.blocked", "b", "round-trip", heals="command", where="peer")


def _udp_excluded(setup: Setup) -> str | None:
    return _strict(setup) or ("without a responder b answers no UDP" if not setup.keyed else None)


def _second_path(setup: Setup) -> Truth:
    # They do arrive; a tap on a's uplink shows that they came in there.
    seen = Deciding("interface", UNDERLAY) if setup.user == "root" else None
    return Truth("reach.asymmetric", "b", "reverse", deciding=seen, heals="command", where="peer", warns=True)


def _second_path_excluded(setup: Setup) -> str | None:
    if setup.nat != "none" or setup.namespace != "host":
        return "the router has no way to a's overlay address"
    if setup.firewall != "open":
        return "a's firewall lets nothing of the overlay in from its uplink"
    return _strict(setup)


def _there(
    name: str,
    summary: str,
    parts: Sequence[Part],
    expected: Callable[[Setup], Truth],
    *,
    excluded: Callable[[Setup], str | None] = _strict,
) -> Fault:
    return Fault(
        name=f"route-{name}-answers",
        summary=summary,
        place=_PLACE,
        made=lambda setup: (*parts,),
        expected=expected,
        proof=proofs.each_of(proofs.comes_out("a", "b"), proofs.never_leaves("b", "a")),
        excluded=excluded,
    )


def _type_there(kind: str) -> Fault:
    summary = f"b's route to a is of type {kind}"
    # Any filter, a loose one too, drops what comes from an address to which no route leads.
    parts = (routes.reverse_path_filter("b", 0), commands(summary, "b", f"route replace {kind} $peer/$length"))

    def truth(setup: Setup) -> Truth:
        # The error that b's kernel gives to its responder says that a route refuses; only a look-up says of which type.
        # Which route, or rule, that is, only the look-up says too.
        seen = words.observed(setup)
        deciding = Deciding("route_type", kind) if seen else None
        truth = words.answers_there(setup, "route", deciding=deciding, reported=True)
        return truth if seen else replace(truth, heals="nothing")

    return _there(kind, summary, parts, truth)


_LEAKS = "b's answers leave by its uplink, where nobody knows a's overlay address"
_UDP_LEAKS = "a rule sends b's UDP for a to b's uplink, and nothing else"
_SECOND = "b's answers leave by its uplink, and the router delivers them"
_LOOSE = tuple(routes.reverse_path_filter(node, 2) for node in ("a", "b"))

_THERE = (
    *(_type_there(kind) for kind in _TYPES),
    _there("to-uplink", _LEAKS, (*_LOOSE, commands(_LEAKS, "b", _TO_LAN)), _leaks_there),
    _there(
        "udp-to-uplink",
        _UDP_LEAKS,
        (*_LOOSE, commands(_UDP_LEAKS, "b", *_UDP_TO_LAN)),
        _udp_leaks_there,
        excluded=_udp_excluded,
    ),
    _there(
        "second-path",
        _SECOND,
        (*_LOOSE, routes.second_path("b", to="a")),
        _second_path,
        excluded=_second_path_excluded,
    ),
)

FAULTS = (*_HERE, *_THERE)
