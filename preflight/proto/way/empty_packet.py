"""The empty packet by which WireGuard confirms data that nothing answers: what it shows of the way to the peer. Pure.

A tunnel that has authenticated data and sends nothing for ten seconds sends a packet without content (WireGuard paper,
section 6.5: passive keepalive). It does so whatever its allowed-ips and the filters behind it do with the data: this
separates a peer that drops packets behind its tunnel from one to which they never come.
"""

from typing import Final

from preflight.proto.way.behind import may_be_behind
from preflight.proto.way.observation import Observation
from preflight.proto.way.stations import Station
from preflight.proto.way.tunnel_view import OnTheWire, TunnelView, messages

THERE: Final = Station("session", "receiver")
KEEPALIVE_S: Final = 10.0
EARLY_S, LATE_S = 0.1, 1.0
"""What the kernel's timers (half a second) and the path may add.

A keepalive that a peer sends every 25 s, to which nothing comes, falls into this time once in 23 runs.
"""
EMPTY_BYTES: Final = 32
_MOST = 2
"""More than this come from no timer in so short a time: it is other traffic."""


def due_ns(first_sent_ns: int) -> int:
    """When the empty packet for what was first sent then must have come, if it comes."""
    return first_sent_ns + int((KEEPALIVE_S + LATE_S) * 1e9)


def may_come(view: TunnelView, wire: OnTheWire) -> bool:
    """Whether the peer's tunnel would send one: it has a session, data has left, and no data has come back."""
    shakes = messages((*wire.out, *wire.into), "initiation", "response", "cookie")
    lives = view.product == "wireguard" and view.alive and bool(view.first_sent_ns)
    asked = bool(messages(wire.out, "data")) and not messages(wire.into, "data") and not shakes
    return lives and asked and not view.burst.answered and view.tapped.blind is None


def worth_waiting(view: TunnelView, wire: OnTheWire) -> bool:
    """Whether an empty packet may still come: anything else that the peer's tunnel sends in the run stops its timer.

    That may be an answer to a handshake, or a hello of the responder behind it.
    """
    return may_come(view, wire) and (view.received_in_run is None or _only_empty(view.received_in_run))


def _only_empty(received: int) -> bool:
    """Whether these bytes are some empty packets, or none."""
    count, other = divmod(received, EMPTY_BYTES)
    return not other and count <= _MOST


def confirmed_s(view: TunnelView, wire: OnTheWire) -> float | None:
    """How long after the first packet of the run an empty one came, if that is when WireGuard sends it for data.

    It comes sooner where anyone has tried before the run.
    """
    came = (each.received_ns for each in wire.into if each.tunnel is not None and each.tunnel.kind == "keepalive")
    after = ((received_ns - view.first_sent_ns) / 1e9 for received_ns in came)
    return next((each for each in after if -EARLY_S <= each - KEEPALIVE_S <= LATE_S), None)


def observe_empty(view: TunnelView, wire: OnTheWire) -> tuple[Observation, ...]:
    """That the peer's tunnel has read the packets, or does not confirm them; nothing where it need not.

    Nor does a keepalive of 25 s come twice in so short a time. Where another machine may hand packets on, it is that
    machine's tunnel which reads them.
    """
    if not may_come(view, wire):
        return ()
    behind, sent, packets = may_be_behind(view.after, view.address), view.burst.sent, view.burst.outer
    whose = f"the tunnel that carries packets for {view.target}" if behind else f"the tunnel of {view.target}"
    reads, reason = _word(view, confirmed_s(view, wire), whose)
    if not reason:
        return ()
    if reads and not behind:
        return (Observation(station=THERE, finding="seen", packets=packets, reason=reason, sent=sent, seen=sent),)
    return (Observation(station=THERE, finding="blind", packets=packets, reason=reason),)


def _word(view: TunnelView, after_s: float | None, whose: str) -> tuple[bool, str]:
    """Whether a tunnel reads packets, and what shows it; no words where nothing is known, or it is too early."""
    count = (view.received_in_run or 0) // EMPTY_BYTES
    only_empty = view.received_in_run is not None and _only_empty(view.received_in_run)
    if after_s is not None or (only_empty and count > 1):
        how = f"an empty packet after {after_s:.1f} s" if after_s is not None else f"{count} empty packets"
        return True, f"{whose} reads them: it sent {how}, as WireGuard does for data that nothing answers"
    if not only_empty or view.read_ns < due_ns(view.first_sent_ns):
        return False, ""
    if count:
        return False, (
            f"an empty packet of {whose} came, so what it sends gets here; whether that confirms what this node sent, "
            "or only keeps a mapping open, cannot be seen"
        )
    return False, f"{whose} confirms nothing: no empty packet of it came within {KEEPALIVE_S:.0f} s"
