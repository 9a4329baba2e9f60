"""Two faults at once: which ones can both be seen, so that what is true of each alone stays true; pure."""

from functools import cache

from preflight.lab.axes.setup import Setup
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.outside import plan_of
from preflight.lab.stations.words import told
from preflight.lab.truth import Truth

_RULES = frozenset(
    (
        *("filter-out", "post-out", "egress", "prerouting", "input"),
        *("filter-outer", "post-outer", "egress-outer", "prerouting-outer", "input-outer"),
    )
)
"""Stations where rules kill packets of one direction, whatever happens to the other."""
_OUTER = frozenset(("session", "neighbour", "wire", "network"))
"""With those that end in -outer, the stations of a tunnel's own packets."""
_PARTLY = ("mtu.black-hole", "udp.blocked")
"""Codes of what kills only some packets of a direction."""
_BY_ANSWERS = ("offender", "answered_from")
"""Deciding fields that a packet brings, which the other fault may kill."""
_QUALITY = ("udp.loss", "udp.jitter", "udp.reordering", "udp.duplication")
_ONE_WAY = ("forward", "reverse")


def hidden(setup: Setup, first: Fault, second: Fault) -> str | None:
    """Why nobody could see the second of two faults on a set-up; None if both can be seen."""
    ways = {first.place.way, second.place.way}
    if ways == {"packet"}:
        return _on_one_way(setup, first, second)
    if len(ways) == 1:
        return "what dies at the first place never comes to the second"
    if "packet" not in ways:
        return "what stops requests, or changes what they need, hides what their answers would show"
    packet = first if first.place.way == "packet" else second
    shared = setup.home == "peer" or (_is_outer(packet) and _one_tunnel(setup))
    return "the way to b is also the way to the control plane" if shared else None


def _is_outer(fault: Fault) -> bool:
    return fault.place.station in _OUTER or fault.place.station.endswith("-outer")


def _one_tunnel(setup: Setup) -> bool:
    """Whether all that a sends into the overlay goes to one member first, so that it all dies with that tunnel."""
    plan = plan_of(setup)
    return plan.product == "openvpn" or plan.topology.hub is not None


@cache
def may_meet(first: Fault, second: Fault) -> bool:
    """Whether there is any reason to draw both: they can be seen on the plain set-up, or are on different ways."""
    if first.name == second.name or first.alone or second.alone:
        return False
    if first.place.way != second.place.way:
        return True
    plain = Setup()
    cannot = (first.excluded(plain), second.excluded(plain))
    return cannot == (None, None) and hidden(plain, first, second) is None


def _on_one_way(setup: Setup, first: Fault, second: Fault) -> str | None:
    if first.drowns or second.drowns:
        return "what lets little pass hides what takes many packets to find"
    one, other = first.expected(setup), second.expected(setup)
    if one.target != other.target:
        return _at_two_peers(first, second, one, other)
    if one.direction == other.direction or not {one.direction, other.direction} <= set(_ONE_WAY):
        return "what dies at the first place never comes to the second"
    codes = {one.code, other.code}
    if codes & set(_QUALITY):
        measured = len(codes) == 2 and codes <= {*_QUALITY, "mtu.black-hole"}
        return None if measured else "what dies is not measured"
    return _two_deaths(setup, first, second, one, other)


def _at_two_peers(first: Fault, second: Fault, one: Truth, other: Truth) -> str | None:
    """One of them is on the way to the control plane only, so b's report may not come."""
    at_b, fault = (one, first) if one.target == "b" else (other, second)
    if {one.code, other.code} == {"mtu.black-hole"} and fault.place.station == "egress-outer":
        return "a queue of a that takes no large packets takes none for the control plane"
    if "control" not in (one.target, other.target) or at_b.target != "b":
        return "what is wrong with a itself hides the ways to others"
    seen_here = at_b.where == "node" and at_b.place is not None and fault.place.station in _RULES
    return None if seen_here else "what b reports comes by the control plane"


def _two_deaths(setup: Setup, first: Fault, second: Fault, one: Truth, other: Truth) -> str | None:
    """Nothing of b gets to a, and b gets nothing of a: the mailbox has what b saw, and lets b send."""
    outer = [fault.place.station.endswith("-outer") for fault in (first, second)]
    if not {first.place.station, second.place.station} <= _RULES:
        return "only rules leave the other direction as it was"
    if all(outer):
        return "the lab's rules for a tunnel's own packets are known by one comment"
    if setup.user != "root" or not told(setup, outer=any(outer)):
        return "with both directions dead nobody reports what b saw"
    if one.place is None and other.place is None:
        return "two directions in which nobody saw a place are one silence, as of one host that is dead"
    return None if all(map(_is_whole, (one, other))) else "what dies in part is seen by what comes back"


def _is_whole(truth: Truth) -> bool:
    """Whether everything of a direction dies, at a station of that direction, and no answer decides it."""
    partly = any(code in _PARTLY for code in (truth.code, *truth.vague))
    by_answers = truth.deciding is not None and truth.deciding.field in _BY_ANSWERS
    return not partly and not by_answers and _leaves_or_arrives(truth)


def _leaves_or_arrives(truth: Truth) -> bool:
    """Whether the place is on the way of the direction: what a sends leaves a, and what b answers comes to a."""
    if truth.place is None:
        return True
    at_a = "sender" if truth.direction == "forward" else "receiver"
    return (truth.place.host == at_a) is (truth.where == "node")
