"""Faults of the network between the tunnel's two ends that let packets pass badly: lost, late, twice, out of order."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from preflight.lab import faults, links
from preflight.lab.axes.setup import Setup
from preflight.lab.impairment import Impairment
from preflight.lab.names import ROUTER
from preflight.lab.part import Part, planned
from preflight.lab.stations import outside
from preflight.lab.stations import outside_proofs as proofs
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.network import PLACE, on_the_router
from preflight.lab.stations.outside import Dead, through_a_third
from preflight.lab.truth import Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

_LOSS_PERCENT = 10
_RATE = 30
"""Packets a second that the policer lets pass."""
_JITTER_MS = 150.0
_SLOW_MS = 300.0
_NAT_TIMEOUT_S = 20
_QUEUE_KBIT = 1500.0
"""A transfer fills the queue of a link that carries this much within seconds, and small packets never do."""
_SHORT_KBIT, _SHORT_QUEUE_MS = 20_000, 5
_LARGE = 1000
_SENT = 100
_SMALL = 64
_PAUSE_S = 0.008
"""Between two datagrams: together they fit through the slowest link of a set-up."""
_ONE_WAY: tuple[Dead, Dead] = ("forward", "reverse")
_ENDS: dict[Dead, tuple[str, str]] = {"forward": ("a", "b"), "reverse": ("b", "a")}


def _measured_by_b(setup: Setup) -> str | None:
    """Why nobody could measure a direction, or another way would be as bad."""
    if not setup.keyed:
        return "without b's responder nothing measures one direction"
    if through_a_third(setup) or setup.home != "third":
        return "the way to the control plane would be as bad"
    return None


def _free_link(setup: Setup) -> str | None:
    if setup.delay != "none":
        return "the lab has one bad link in each direction"
    return _measured_by_b(setup)


def _worse(code: str, direction: Dead, *vague: str, warns: bool = False) -> Callable[[Setup], Truth]:
    return lambda setup: Truth(code, "b", direction, heals="nothing", where="router", vague=vague, warns=warns)


def _some_arrive(direction: Dead, least: int, most: int) -> "Proof":
    """Of a burst of small ones, at least and at most these numbers arrive."""

    def prove(network: "Network") -> None:
        seen = proofs.burst(network, *_ENDS[direction], size=_SMALL, count=_SENT, pause_s=_PAUSE_S).arrived
        if not least <= seen <= most:
            raise NotThereError(f"{seen} of {_SENT} datagrams arrive")

    return prove


def _loss(direction: Dead) -> Fault:
    summary = f"{_LOSS_PERCENT} % of the packets {'from' if direction == 'forward' else 'to'} a are lost at random"
    rule = on_the_router(direction, lambda network: f"numgen random mod 100 < {_LOSS_PERCENT} counter drop")
    return Fault(
        name=f"network-loss-{direction}",
        summary=summary,
        place=PLACE,
        made=lambda setup: (Part(summary, inject=rule),),
        expected=_worse("udp.loss", direction, "reach.loss"),
        # One of 37 000 bursts of a hundred would lose none.
        proof=_some_arrive(direction, 1, _SENT - 1),
        excluded=_measured_by_b,
    )


def _policer(direction: Dead) -> Fault:
    summary = f"the router lets {_RATE} packets a second pass {'from' if direction == 'forward' else 'to'} a"
    rule = on_the_router(direction, lambda network: f"limit rate over {_RATE}/second burst 5 packets counter drop")
    return Fault(
        name=f"network-policer-{direction}",
        summary=summary,
        place=PLACE,
        made=lambda setup: (Part(summary, inject=rule),),
        expected=_worse("reach.policed", direction, "udp.loss", "reach.loss"),
        proof=_some_arrive(direction, 1, _SENT - 10),
        excluded=_measured_by_b,
        drowns=True,
    )


def _bad_link(name: str, code: str, direction: Dead, impairment: Impairment) -> Fault:
    ends = _ENDS[direction]
    return Fault(
        name=f"network-{name}-{direction}",
        summary=f"the link from {ends[0]} to {ends[1]} has {impairment.summary()}",
        place=PLACE,
        made=lambda setup: (faults.impaired(*ends, impairment),),
        expected=_worse(code, direction, warns=True),
        proof=_by_a_bad_link(*ends),
        excluded=_free_link,
    )


def _by_a_bad_link(source: str, target: str) -> "Proof":
    """A burst passes the bad link's device on the router, and arrives."""

    def prove(network: "Network") -> None:
        device = f"bad-{source}-{target}"
        if device not in outside.links(network, ROUTER):
            raise NotThereError(f"the router has no {device}")
        seen = proofs.burst(network, source, target, proofs.Tap(ROUTER, device, "out"))
        if not seen.at[0] or not seen.arrived:
            raise NotThereError(f"{seen.at[0]} packets pass the bad link, and {seen.arrived} arrive")

    return prove


# A queue that one transfer fills


def _deep_queue(direction: Dead) -> Fault:
    ends = _ENDS[direction]
    return Fault(
        name=f"network-deep-queue-{direction}",
        summary=f"the link from {ends[0]} to {ends[1]} is slow, and its queue is deep; a asks for load",
        place=PLACE,
        made=lambda setup: (
            planned("b's responder takes load, and a asks for it", load="taken"),
            # The other direction has a short queue, and not the one of a busy machine.
            links.rate(_SHORT_KBIT, queue_ms=_SHORT_QUEUE_MS),
            faults.impaired(*ends, Impairment(rate_kbit=_QUEUE_KBIT)),
        ),
        expected=_worse("perf.bufferbloat", direction, warns=True),
        proof=_fills_a_queue(*ends),
        excluded=_quick_link,
        alone=True,
    )


def _quick_link(setup: Setup) -> str | None:
    if setup.rate != "unlimited":
        return "a's own link has such a queue in both directions"
    return _free_link(setup)


def _fills_a_queue(source: str, target: str) -> "Proof":
    """The bad link is on the way, and of a burst that its queue does not hold, some do not arrive."""

    def prove(network: "Network") -> None:
        _by_a_bad_link(source, target)(network)
        seen = proofs.burst(network, source, target, size=_LARGE, count=6 * _SENT).arrived
        if not 0 < seen < 6 * _SENT:
            raise NotThereError(f"{seen} of {6 * _SENT} large datagrams arrive")

    return prove


# More than one copy


def _twice(setup: Setup) -> tuple[Part, ...]:
    return (faults.impaired("a", "b", Impairment(duplication_percent=20), inside_hub=setup.layout == "hub"),)


def _twice_excluded(setup: Setup) -> str | None:
    if not setup.keyed:
        return "without b's responder nothing counts copies"
    if setup.layout == "hub":
        return "the hub's own bad link is the lab's only one" if setup.delay != "none" else None
    if setup.product != "vxlan":
        return "the tunnel drops copies of its own packets"
    return _free_link(setup)


def _arrives_twice(network: "Network") -> None:
    seen = proofs.burst(network, "a", "b", size=_SMALL, count=_SENT, pause_s=_PAUSE_S).arrived
    if seen <= _SENT:
        raise NotThereError(f"{seen} of {_SENT} datagrams, or copies of them, arrive")


# Translations that forget


def _forgetful(setup: Setup) -> tuple[Part, ...]:
    return planned("there is no keepalive", keepalive_s=0), faults.nat("a", _NAT_TIMEOUT_S)


def _forgetful_is(setup: Setup) -> Truth:
    return Truth("overlay.no-keepalive", "b", heals="command", vague=("udp.nat-timeout",), warns=True)


def _forgetful_excluded(setup: Setup) -> str | None:
    if setup.user != "root":
        return "only root sees a tunnel's keepalive, and the check that waits for the time-out takes minutes"
    if setup.product != "wireguard":
        return "the other products of the lab keep their mappings open themselves"
    if setup.outer == "ipv6":
        return "routers translate IPv4 only"
    if setup.namespace == "container":
        return "nobody in it sees at which addresses its tunnel's socket is, so none of them is known to be translated"
    if setup.layout == "hub":
        return "the hub's answers to others keep the mapping open"
    if setup.responder in ("absent", "filtered"):
        return "without an answer of b's responder nobody sees that something translates"
    if setup.delay != "none":
        return "the lab's delayed links carry packets out of the router and in again, where no translation finds them"
    return "a is behind another translation already" if setup.nat != "none" else None


def _is_forgetful(network: "Network") -> None:
    end = outside.remote_end(network.plan)
    proofs.passes("a", "b")(network)  # b learns the translated address
    kept = network.wg("a", "show", outside.tunnel_to_remote_end(network, "a"), "persistent-keepalive")
    seen = outside.endpoint(network, end)[0] if end == "b" else ""
    if network.keys[end].public + "\toff" not in kept:
        raise NotThereError("a's tunnel keeps its mapping open")
    if seen == outside.leaving(network, "a").source:
        raise NotThereError("nobody translates a's address")


# The way to the control plane


def _slow(setup: Setup) -> tuple[Part, ...]:
    return faults.both_ways("a", "c", Impairment(delay_ms=_SLOW_MS))


def _slow_excluded(setup: Setup) -> str | None:
    if setup.home != "third" or setup.control == "none" or through_a_third(setup):
        return "there is no way to a control plane that is not the way to b too"
    return "the lab has one bad link in each direction" if setup.delay != "none" else None


FAULTS = (
    *(_loss(direction) for direction in _ONE_WAY),
    *(_policer(direction) for direction in _ONE_WAY),
    *(_bad_link("reordering", "udp.reordering", each, Impairment(reordering_percent=20)) for each in _ONE_WAY),
    *(_bad_link("jitter", "udp.jitter", each, Impairment(jitter_ms=_JITTER_MS)) for each in _ONE_WAY),
    *(_deep_queue(direction) for direction in _ONE_WAY),
    Fault(
        name="network-twice",
        summary="20 % of the packets from a to b arrive twice",
        place=PLACE,
        made=_twice,
        expected=_worse("udp.duplication", "forward", warns=True),
        proof=_arrives_twice,
        excluded=_twice_excluded,
    ),
    Fault(
        name="network-nat-timeout",
        summary=f"a's translation forgets it after {_NAT_TIMEOUT_S} s, and the tunnel has no keepalive",
        place=PLACE,
        made=_forgetful,
        expected=_forgetful_is,
        proof=_is_forgetful,
        excluded=_forgetful_excluded,
    ),
    Fault(
        name="network-slow-control",
        summary="the control plane is 600 ms away from a",
        place=PLACE,
        made=_slow,
        expected=lambda setup: Truth("control.slow", "control", warns=True),
        proof=_by_a_bad_link("a", "c"),
        excluded=_slow_excluded,
    ),
)
