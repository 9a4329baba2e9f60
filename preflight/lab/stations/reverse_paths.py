"""Faults of the reverse-path filter inside the tunnel: what comes out of it has no way back through it."""

from collections.abc import Callable

from preflight.lab import routes
from preflight.lab.axes.setup import Setup
from preflight.lab.network import UNDERLAY
from preflight.lab.part import Part
from preflight.lab.stations import proofs, words
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.making import commands, ruleset
from preflight.lab.truth import Deciding, Place, Truth

_PLACE = Place("packet", "rp", "receiver")
_CODE = "host.rp-filter"
_TO_LAN = "route replace $peer/$length via $gateway dev $lan"
_BY_UPLINK = Deciding("interface", UNDERLAY)
_MARK = 7
_BY_MARK = (
    "rule add fwmark 7 lookup 177 pref 90",
    "route add $peer/$length dev $tunnel src $node table 177",
)


def _needs_ipv4(setup: Setup) -> str | None:
    return "Linux filters by the reverse path for IPv4 only" if setup.families == "ipv6" else None


def _there(setup: Setup) -> Truth:
    return words.there(setup, "rp", code=_CODE, reported=True)


def _there_and_back(setup: Setup) -> Truth:
    """The route that makes the filter drop leads b's own packets away from the tunnel too: no hello of b comes to a."""
    return _there(setup) if words.told(setup) else words.silence(setup, "round-trip")


def _filter(node: str, mode: int) -> Part:
    return routes.reverse_path_filter(node, 1 if mode == 1 else 2)


def _fault(
    name: str,
    summary: str,
    parts: tuple[Part, ...],
    expected: Callable[[Setup], Truth],
    proof: proofs.Proof,
    excluded: Callable[[Setup], str | None] = _needs_ipv4,
) -> Fault:
    return Fault(
        name=f"rp-{name}",
        summary=summary,
        place=_PLACE,
        made=lambda setup: parts,
        expected=expected,
        proof=proof,
        excluded=excluded,
    )


_LEAK = "b's filter is strict, and its route to a leads to its uplink"
_SECOND = "b's filter is strict, and a second path to a leads over its uplink"
_NONE = "b's filter is loose, and no route leads to a"

# At a


def _second_path_here(setup: Setup) -> Truth:
    """The answers come to a's uplink; a tap there shows it, whatever b reports. Without it b's report has its route.

    wg-quick's own rule, which it sets up with a default route, drops them before the filter is asked.
    """
    if setup.user != "root" and not words.told(setup):
        # Everyone may read the setting, and the counter of what it drops while b is silent; not whose route is wrong.
        return Truth(_CODE, "node", where="peer", vague=(words.UNREACHABLE,))
    if setup.user != "root":
        return words.answers_there(setup, "route", code="overlay.route-leak", deciding=_BY_UPLINK, reported=True)
    less = (_CODE, words.UNREACHABLE, words.NO_REVERSE)
    return Truth(
        "overlay.route-leak",
        "b",
        "reverse",
        place=Place("packet", "prerouting", "receiver") if _by_wg_quick(setup) else _PLACE,
        deciding=_BY_UPLINK,
        heals="command",
        where="peer",
        vague=less,
    )


def _second_path_there(setup: Setup) -> Truth:
    """b's hellos leave by its uplink too, so they come to a by its own, outside the tunnel, if at all."""
    if words.told(setup) or not words.heard(setup):
        return _there(setup)
    if setup.nat != "none" or setup.namespace != "host" or setup.firewall != "open":
        return words.silence(setup, "round-trip")
    if setup.filter == "strict" or _by_wg_quick(setup):
        # There they are dropped, which a sees, and not what happens to its own packets at b.
        return _second_path_here(setup)
    return _there(setup)


def _by_wg_quick(setup: Setup) -> bool:
    """Whether wg-quick's own rule lets nothing for a's overlay address in by another device."""
    return setup.product == "wireguard" and setup.routes == "default"


def _second_path_excluded(setup: Setup) -> str | None:
    if setup.nat != "none" or setup.namespace != "host":
        return "the router has no way to a's overlay address"
    if setup.firewall != "open":
        return "a's firewall lets nothing of the overlay in from its uplink"
    if setup.filter == "strict":
        return "b's strict filter drops what a sends before b answers"
    return _needs_ipv4(setup)


def _marked(route: str, mode: int) -> tuple[Part, ...]:
    """a's packets for b go into the tunnel by their mark, and a look-up without the mark leads elsewhere."""
    summary = "a sends to b by a mark"
    return (
        _filter("a", mode),
        commands(summary, "a", *_BY_MARK, route),
        ruleset(
            summary,
            "a",
            "table inet marks { chain output { type route hook output priority mangle; }; }",
            f"add rule inet marks output $ip daddr $peer meta mark set {_MARK}",
        ),
    )


def _here(setup: Setup) -> Truth:
    if setup.user != "root":
        # Everyone may read the setting, and the counter of what it drops.
        target, direction = ("b", "reverse") if words.heard(setup) else ("node", None)
        return Truth(_CODE, target, direction, heals="command", vague=(words.UNREACHABLE, words.NO_REVERSE))
    sysctl = Deciding("sysctl", lambda network: f"net.ipv4.conf.{network.tunnel_to('a', 'b')}.rp_filter")
    return words.arrives_here(setup, _CODE, "rp", deciding=sysctl)


def _marked_excluded(setup: Setup) -> str | None:
    if setup.routes in ("default", "halves"):
        return "the tunnel's own mark decides on its packets"
    if setup.firewall != "open":
        return "a's firewall sees the device of the look-up before the mark, and lets nothing of the overlay out there"
    return words.without_uplink(setup) or _needs_ipv4(setup)


_MARKED = "a's filter is strict, and only a mark that answers lack leads to b through the tunnel"
_SECOND_HERE = "b's answers leave by its uplink and the router delivers them, and a's filter is strict"

FAULTS = (
    _fault(
        "leak",
        _LEAK,
        (_filter("b", 1), commands(_LEAK, "b", _TO_LAN)),
        _there_and_back,
        proofs.dies_behind_the_tap("a", "b"),
    ),
    _fault(
        "second-path",
        _SECOND,
        (_filter("b", 1), routes.second_path("b", to="a")),
        _second_path_there,
        proofs.dies_behind_the_tap("a", "b"),
    ),
    _fault(
        "no-way-back",
        _NONE,
        (_filter("b", 2), commands(_NONE, "b", "route replace unreachable $peer/$length", families=(4,))),
        _there_and_back,
        proofs.dies_behind_the_tap("a", "b"),
    ),
    _fault(
        "second-path-answers",
        _SECOND_HERE,
        (
            _filter("a", 1),
            _filter("b", 2),
            routes.second_path("b", to="a"),
            # The source of answers, for whatever b sends.
            commands(_SECOND_HERE, "b", f"{_TO_LAN} src $node"),
        ),
        _second_path_here,
        proofs.each_of(proofs.comes_out("a", "b"), proofs.never_leaves("b", "a"), proofs.dies("b", "a")),
        _second_path_excluded,
    ),
    _fault(
        "mark-answers",
        _MARKED,
        _marked("route replace $peer/$length via $gateway dev $lan src $node", 1),
        _here,
        proofs.dies_behind_the_tap("b", "a"),
        _marked_excluded,
    ),
)
