"""The conditions of the rules of a diagnosis: what the facts of a cause and of an effect must show."""

from collections.abc import Callable

from preflight.api import CONTROL, Direction, Result
from preflight.model.complaint import EXIT_NODE
from preflight.model.facts import (
    ClockSkewFacts,
    ConfigDriftFacts,
    ControlTunnelFacts,
    DeathFacts,
    EchoFacts,
    EnrolmentStepFacts,
    MtuFacts,
    NodeAgeFacts,
    ReversePathFilterFacts,
    TunnelMtuFacts,
)

Condition = Callable[[Result, Result], bool]
"""Whether the facts of a cause and of an effect allow that the first explains the second."""

_PADDING_BYTES = 16
"""WireGuard pads packets to a multiple of it, so a path may carry up to this much less than what fits."""
_BY_ECHO = ("reach.icmp", "mtu.echo")


def of_the_peer(cause: Result, effect: Result) -> bool:
    """What is wrong with the way there is why answers die: a route back leads elsewhere, a source is another's."""
    return cause.direction is Direction.FORWARD and effect.direction is Direction.REVERSE


def without_addresses(cause: Result, effect: Result) -> bool:
    """Linux has taken the addresses off the tunnel, so that nothing goes through it."""
    return not isinstance(cause.facts, TunnelMtuFacts)  # those are of a tunnel that still has an address


def of_the_mtu(cause: Result, effect: Result) -> bool:
    """All that differs between a tunnel and its file is its MTU, and the addresses that Linux takes off with it."""
    drift = effect.facts
    return isinstance(drift, ConfigDriftFacts) and drift.differences == drift.by_mtu


def sent_from_its_address(cause: Result, effect: Result) -> bool:
    """The kernel takes an address that is another node's too as the source of what it sends to others.

    Where no source is known, the other node has this one's address if what is sent here does not come.
    """
    address = cause.facts.address if isinstance(cause.facts, DeathFacts) else None
    if not isinstance(effect.facts, ControlTunnelFacts):
        return address is not None and cause.direction is Direction.REVERSE
    return address is not None and effect.facts.source == address


def of_the_exit(cause: Result, effect: Result) -> bool:
    """The peer that is away is this node's exit node."""
    return cause.aspect == EXIT_NODE


def at_a_station(cause: Result, effect: Result) -> bool:
    """Packets are proven to die there."""
    return cause.station is not None


def by_silence(cause: Result, effect: Result) -> bool:
    """The daemon's complaint is a failure because no peer answers."""
    return cause.station is not None


def same_lever(cause: Result, effect: Result) -> bool:
    """What is done about the one is what is done about the other."""
    return cause.remedies == effect.remedies


def same_way(cause: Result, effect: Result) -> bool:
    """A fault of one direction explains nothing that was measured in the other."""
    return {cause.direction, effect.direction} != {Direction.FORWARD, Direction.REVERSE}


def of_one_rule(cause: Result, effect: Result) -> bool:
    """Where packets are proven to die both ways, what is sent and what is answered are stopped by two rules."""
    return effect.station is None or cause.station is None or same_way(cause, effect)


def unanswered(_: Result, effect: Result) -> bool:
    """A server that answers was reached, even if it refuses."""
    return not isinstance(effect.facts, EnrolmentStepFacts) or effect.facts.http_status is None


def as_much_as_fits(cause: Result, effect: Result) -> bool:
    """A path that carries less than the tunnel's right MTU has a second fault in addition to the wrong MTU."""
    carried = effect.facts.mtu_bytes if isinstance(effect.facts, MtuFacts) else None
    fits = cause.facts.fits_bytes if isinstance(cause.facts, TunnelMtuFacts) else None
    return carried is None or fits is None or carried > fits - _PADDING_BYTES


def but_for_tcp(cause: Result, _: Result) -> bool:
    """What takes a host's echoes takes its UDP too, if only TCP is answered."""
    return not isinstance(cause.facts, EchoFacts) or bool(cause.facts.tcp_answered)


def of_rules_unread(cause: Result, effect: Result) -> bool:
    """A firewall that keeps questions for names in keeps the tunnel's packets in too, as far as anyone knows who may
    not read its rules: silence is then not a second fault. Who reads them names the rule, as facts.
    """
    return cause.check == "control.dns" and cause.facts is None and effect.station is None


def by_one_filter(_: Result, effect: Result) -> bool:
    """Echoes die with UDP where the peer's host answers TCP alone."""
    return not isinstance(effect.facts, EchoFacts) or bool(effect.facts.tcp_answered)


def of_the_silent(cause: Result, effect: Result) -> bool:
    """The kernel counts drops for the whole node: only a peer that was silent meanwhile can have lost packets."""
    silent = cause.facts.silent_peers if isinstance(cause.facts, ReversePathFilterFacts) else None
    return effect.target == CONTROL or silent is None or effect.target in silent


def of_a_join(_: Result, effect: Result) -> bool:
    """What keeps a node from joining keeps posture.scope from trying a join too, and from nothing else."""
    return effect.check == "posture.scope"


def of_what_posture_asks(_: Result, effect: Result) -> bool:
    """A gateway that answers joins itself answers those of posture.scope and of posture.routes alike."""
    return effect.check in ("posture.scope", "posture.routes")


def of_large_packets(_: Result, effect: Result) -> bool:
    """A search for what passes ends without a result where what is large vanishes."""
    return effect.check.startswith("mtu.")


def of_the_clock(_: Result, effect: Result) -> bool:
    """Only other nodes say whether this node's clock is right."""
    return effect.check == "host.clock"


def as_old_as_the_skew(cause: Result, effect: Result) -> bool:
    """Without the difference of the clocks no node would have been away for too long."""
    skew, ages = cause.facts, effect.facts
    if not isinstance(skew, ClockSkewFacts) or not isinstance(ages, NodeAgeFacts):
        return True
    return ages.oldest_age_ms - abs(skew.clock_offset_ms) - skew.clock_error_ms <= ages.stale_after_ms


def of_the_routes(_: Result, effect: Result) -> bool:
    """A route that answers with a server's error does so for every bearer."""
    return effect.check == "posture.routes"


def by_echo(_: Result, effect: Result) -> bool:
    """A missing privilege for ICMP explains only what needs ICMP."""
    return effect.check in _BY_ECHO
