"""What a tap saw of a burst: in the tunnel and on the wire, both directions, for every product. Pure."""

from collections.abc import Iterator
from typing import Literal

from preflight.proto.way.observation import Finding, Observation, PacketClass
from preflight.proto.way.silent import SESSION_OUT
from preflight.proto.way.stations import Station
from preflight.proto.way.tunnel_packets import PRODUCTS
from preflight.proto.way.tunnel_view import OnTheWire, TunnelView, inside, messages, on_the_wire, settled
from preflight.proto.way.words import counted

TUNNEL_OUT, TUNNEL_IN = Station("tunnel", "sender"), Station("tunnel", "receiver")
WIRE_OUT, WIRE_IN = Station("wire", "sender"), Station("wire", "receiver")
SESSION_IN = Station("session", "receiver")
"""This node's session on the way of the answers; on the way of the burst, the peer's."""
REPEATED_S = 5.4
"""An unanswered initiation is repeated after 5 s and up to a third of a second more."""
_HANDSHAKES = ("initiation", "response", "cookie")
_Direction = Literal["forward", "reverse"]
_SEEN: tuple[Finding, str] = ("seen", "")


def observe_wire(view: TunnelView) -> tuple[Observation, ...]:
    """Observations of the stations `tunnel`, `session` and `wire`: at this node, where a burst leaves and where its
    answers come in.

    It never says why packets die: that is for `session`, `refusals` and the observers of this node's kernel.
    """
    if view.tapped.blind is not None:
        return tuple(_blind(view.tapped.blind))
    if view.product not in PRODUCTS:
        return tuple(_inside(view))
    wire = on_the_wire(view)
    if (question := _question(view, wire)) is not None:
        return (*question, *_arriving(view, wire))
    inner = tuple(_inside(view))
    return (*inner, *_leaving(view, wire), *_arriving(view, wire), *_sessions(view, wire))


def _blind(reason: str) -> Iterator[Observation]:
    stations: tuple[tuple[_Direction, Station], ...] = (
        ("forward", TUNNEL_OUT), ("forward", WIRE_OUT), ("reverse", WIRE_IN), ("reverse", TUNNEL_IN),
    )  # fmt: skip
    for direction, station in stations:
        yield Observation(station=station, finding="blind", direction=direction, reason=reason)


def _nothing(view: TunnelView) -> tuple[Finding, str]:
    """What it means that the tap did not see a packet."""
    if view.tapped.complete:
        return "absent", ""
    if view.tapped.cut:
        return "blind", "the tap was full before the end: the tunnel carries too much other traffic"
    return "blind", f"{counted(view.tapped.dropped, 'packet')} passed the tap unread"


def _question(view: TunnelView, wire: OnTheWire) -> tuple[Observation, ...] | None:
    """What is seen where packets wait for the hardware address of the peer: the question for it, in their place."""
    asked = [packet for packet in wire.out if packet.tunnel is not None and packet.tunnel.kind == "neighbours"]
    if view.burst.answered or not asked or inside(view, outgoing=True) or messages(wire.out, "data"):
        return None
    waits = f"packets wait in {view.name} until somebody answers who has {view.address}"
    left = f"the question left by {wire.device} for {view.endpoint}"
    sent = view.burst.sent
    return (
        Observation(station=TUNNEL_OUT, finding="seen", reason=waits, packets="inner", sent=sent, seen=sent),
        Observation(
            station=WIRE_OUT, finding="seen", reason=left, packets=view.burst.outer, sent=len(asked), seen=len(asked)
        ),
    )


def _inside(view: TunnelView) -> Iterator[Observation]:
    """The burst on the tunnel device, and its answers."""
    out, back = len(inside(view, outgoing=True)), len(inside(view, outgoing=False))
    finding, reason = _SEEN if out else _nothing(view)
    if view.waits and not out:
        finding, reason = "blind", f"packets wait until somebody in {view.name} answers who has {view.address}"
    yield Observation(
        station=TUNNEL_OUT, finding=finding, reason=reason, packets="inner", sent=view.burst.sent, seen=out
    )
    if back or view.answers_sent:
        finding, reason = _SEEN if back else _nothing(view)
        yield _here(TUNNEL_IN, finding, "inner", view.answers_sent or back, seen=back, reason=reason)


def _leaving(view: TunnelView, wire: OnTheWire) -> Iterator[Observation]:
    """The tunnel's own packets on the way out."""
    shakes = messages(wire.out, *_HANDSHAKES)
    data = messages(wire.out, "data", carrying=view.burst.flow.length_bytes)
    where = f"the packets left by {wire.device}" if wire.device else ""
    if shakes:
        yield Observation(station=WIRE_OUT, finding="seen", reason=where, packets="handshake", sent=shakes, seen=shakes)
    if data:
        yield Observation(
            station=WIRE_OUT, finding="seen", reason=where, packets=view.burst.outer, sent=view.burst.sent, seen=data
        )
    if not shakes and not data and inside(view, outgoing=True):
        yield _nothing_leaves(view)


def _nothing_leaves(view: TunnelView) -> Observation:
    packets: PacketClass = "handshake" if view.product == "wireguard" and not view.alive else view.burst.outer
    finding, reason = _nothing(view)
    if not view.endpoints:
        finding, reason = "blind", f"{view.name} does not say where {view.target} is"
    elif view.supposed and (other := _sent_elsewhere(view)) is not None:
        finding, reason = "blind", f"{view.name} sends to {other}, and nothing says whether {view.target} is there"
    elif packets == "handshake" and view.watched_s < REPEATED_S:
        finding = "blind"
        reason = f"WireGuard repeats a handshake every 5 s, and the tap looked for {view.watched_s:.1f} s"
    elif _elsewhere(view):
        finding, reason = "blind", f"{view.name}'s own packets leave in another network namespace"
    elif finding == "absent":
        reason = (
            f"{view.name} took {counted(len(inside(view, outgoing=True)), 'packet')} of the burst, and sent none itself"
        )
    return Observation(station=WIRE_OUT, finding=finding, reason=reason, packets=packets, sent=view.burst.sent)


def _sent_elsewhere(view: TunnelView) -> str | None:
    """Where the tunnel's own data goes."""
    sent = (each for each in view.tapped.packets if each.outgoing and each.tunnel is not None)
    return next((each.destination for each in sent if each.tunnel and each.tunnel.kind == "data"), None)


def _elsewhere(view: TunnelView) -> bool:
    """Whether the tunnel's socket is in another namespace: its port is nobody's here, and its counter grows."""
    port = view.after.listen_port
    if view.elsewhere or view.ports is None or port is None:
        return view.elsewhere
    return port not in {each.port for each in view.ports} and view.counted_sent > 0


def _arriving(view: TunnelView, wire: OnTheWire) -> Iterator[Observation]:
    """The tunnel's own packets on the way in.

    Silence does not show that answers die: perhaps nobody sent any, unless the peer says that it did.
    """
    shakes = messages(wire.into, *_HANDSHAKES)
    data = messages(wire.into, "data", carrying=view.burst.answer_length)
    if shakes:
        yield _here(WIRE_IN, "seen", "handshake", shakes, seen=shakes)
    elif messages(wire.out, "initiation"):
        yield _silence(view, "handshake", _unanswered(view, wire))
    if data:
        yield _here(WIRE_IN, "seen", view.burst.outer, view.answers_sent or data, seen=data)
    elif messages(wire.out, "data", carrying=view.burst.flow.length_bytes):
        yield _silence(view, view.burst.outer, _unanswered(view, wire))


def _unanswered(view: TunnelView, wire: OnTheWire) -> str:
    initiations, keepalives = messages(wire.out, "initiation"), messages(wire.into, "keepalive")
    left = "data" if not initiations else counted(initiations, "handshake initiation")
    came = f"only {counted(keepalives, 'keepalive')}" if keepalives else "nothing"
    return f"{left} left for {view.endpoint}, and {came} came from there in {view.watched_s:.1f} s"


def _silence(view: TunnelView, packets: PacketClass, reason: str) -> Observation:
    finding, blind = _nothing(view)
    if finding == "absent" and not view.answers_sent:
        finding, blind = "blind", f"{reason}; only the peer's report would say if it sent any"
    return _here(WIRE_IN, finding, packets, view.answers_sent, reason=blind or reason)


def _here(
    station: Station, finding: Finding, packets: PacketClass, sent: int, *, seen: int = 0, reason: str = ""
) -> Observation:
    """What came in at this node, on the way of the answers."""
    return Observation(
        station=station, finding=finding, direction="reverse", reason=reason, packets=packets, sent=sent, seen=seen
    )


def _sessions(view: TunnelView, wire: OnTheWire) -> Iterator[Observation]:
    """What the product's own counters prove: WireGuard counts only what it authenticated."""
    if view.product != "wireguard":
        return
    if view.alive and not view.shook_hands and messages(wire.out, "initiation") and not messages(wire.out, "data"):
        why = f"{view.name} calls although its last handshake is fresh: its key was changed, or it was down meanwhile"
        yield Observation(station=SESSION_OUT, finding="blind", reason=why, packets="handshake")
    accepted = f"{view.name} accepted {view.received} bytes of {view.endpoint}"
    data = messages(settled(view, wire.into), "data", carrying=view.burst.answer_length)
    if view.received:
        yield _here(SESSION_IN, "seen", "handshake", 1, seen=1, reason=accepted)
    if view.received and data and inside(view, outgoing=False):
        yield _here(SESSION_IN, "seen", view.burst.outer, view.answers_sent or data, seen=data, reason=accepted)
    shook = bool(view.shook_hands and messages(wire.out, *_HANDSHAKES))
    if shook or (view.only_handshakes and not view.burst.answered):
        since = "the last one during the burst" if shook else f"and nothing else ever came from {view.endpoint}"
        reason = f"handshakes with {view.target} go through, {since}"
        yield Observation(station=SESSION_IN, finding="seen", reason=reason, packets="handshake", sent=1, seen=1)
