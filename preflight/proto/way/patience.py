"""How long the answers to what a tunnel has sent may take, by what a tap has seen so far: pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from preflight.model.overlay import OverlayPeer
from preflight.model.tapped import TapPacket

REKEY_S: Final = 5.0
RETRY_S: Final = 5.6
"""WireGuard sends its next initiation within this time (REKEY_TIMEOUT is 5 s, with a third of a second of jitter)."""
AGAIN_S: Final = {"wireguard": RETRY_S, "vxlan": 1.2}
"""How long to wait for what a tunnel sends for the burst: VXLAN's kernel asks for a neighbour once a second."""
DATA_S: Final = 0.9
"""How long answers to the burst may take to be seen on any device, from its first packet on."""
HANDSHAKE_S: Final = 1.2
"""How long the answer to a handshake may take, and what follows from it."""
ERROR_S, ERROR_ROUND_TRIPS = 0.2, 4
"""How long an error may take at least, and by how much more where the host that the packet is for is far away."""
EAGER_S: Final = 0.02
"""Between two packets that may start a handshake."""
_ASKING: Final = ("initiation", "data", "control", "neighbours")
Places = frozenset[tuple[str, int]]
"""Where the peer is; empty: everything that the tunnel sends may be for it."""


def unanswered_for(with_peer: Iterable[TapPacket], now_ns: int) -> float | None:
    """How much longer the answers may take, seconds; None if the tunnel sent nothing that needs one.

    That is its own handshake, or what is inside. From the first packet on: a busy tunnel sends all the time.
    """
    packets = tuple(with_peer)
    asked = [packet for packet in packets if _asks(packet) and not crossed(packet, packets)]
    if not asked:
        return None
    data = [packet for packet in asked if not _is_call(packet)]
    sent, patience_s = (data[0], DATA_S) if data else (asked[0], HANDSHAKE_S)
    return patience_s - (now_ns - sent.received_ns) / 1e9


def crossed(call: TapPacket, packets: Sequence[TapPacket]) -> bool:
    """Whether the peer called between a call of this node and its answer: WireGuard forgets its own then."""
    if not _is_call(call):
        return False
    later = [each for each in packets if not each.outgoing and each.received_ns >= call.received_ns]
    answer = next((each for each in later if _answers(each, call)), None)
    return answer is not None and any(_is_call(each) and each.received_ns <= answer.received_ns for each in later)


def _answers(packet: TapPacket, call: TapPacket) -> bool:
    told, asked = packet.tunnel, call.tunnel
    return told is not None and asked is not None and told.kind == "response" and told.receiver == asked.sender


def error_s(round_trip_s: float | None) -> float:
    """How long an error about a packet may take. round_trip_s: of an echo to the host that it is for, if it answers."""
    return DATA_S if round_trip_s is None else min(DATA_S, ERROR_S + ERROR_ROUND_TRIPS * round_trip_s)


def may_ask(packets: Iterable[TapPacket], now_ns: int, *, heard: bool) -> bool:
    """Whether WireGuard would start a handshake of its own for a packet: 5 s after the last it sent, also in answer.

    A peer that calls every five seconds leaves a third of a second for that. heard: it has called before; as long as
    no tap has seen when this end answered last, that third of a second may be now.
    """
    shakes = (packet for packet in packets if packet.outgoing and packet.tunnel and packet.tunnel.is_handshake)
    sent_ns = [packet.received_ns for packet in shakes]
    return REKEY_S <= (now_ns - sent_ns[-1]) / 1e9 <= RETRY_S if sent_ns else heard


def has_called(peer: OverlayPeer | None) -> bool:
    """Whether WireGuard ever accepted anything of a peer: without a session that were its calls."""
    return peer is not None and bool(peer.rx_bytes)


def next_look_s(packets: Iterable[TapPacket], now_ns: int, most_s: float) -> float:
    """When to look again: as soon as `may_ask` holds, for a peer that calls every five seconds leaves little time."""
    shakes = (packet for packet in packets if packet.outgoing and packet.tunnel and packet.tunnel.is_handshake)
    left_s = [REKEY_S - (now_ns - packet.received_ns) / 1e9 for packet in shakes][-1:]
    return min([most_s, *(each for each in left_s if each > 0)])


def until_asked(packets: Iterable[TapPacket], now_ns: int) -> float:
    """How much longer it may take until WireGuard starts a handshake by itself; 0 where it has answered no call.

    A call that comes meanwhile, and is answered, puts it off.
    """
    answers = (packet for packet in packets if packet.outgoing and packet.tunnel and packet.tunnel.kind == "response")
    sent_ns = max((packet.received_ns for packet in answers), default=None)
    return 0.0 if sent_ns is None else max(0.0, RETRY_S + HANDSHAKE_S - (now_ns - sent_ns) / 1e9)


def left_s(packets: Sequence[TapPacket], now_ns: int, *, known: bool) -> float:
    """How much longer to wait: for an answer, or for a handshake of this node's own, if no place is known yet."""
    rest_s = unanswered_for(packets, now_ns)
    if rest_s is not None:
        return max(0.0, rest_s)
    return 0.0 if known else until_asked(packets, now_ns)


def last_data_ns(packets: Iterable[TapPacket], to: Places) -> int | None:
    """When the tunnel last sent the peer something other than a handshake that needs an answer; None if it did not."""
    sent = (each for each in _with(packets, to) if _asks(each) and not _is_call(each))
    return max((each.received_ns for each in sent), default=None)


def refused(packets: Iterable[TapPacket], to: Places) -> bool:
    """Whether somebody said that what was sent to the peer does not get there."""
    errors = (packet.error for packet in packets if packet.error is not None and not packet.outgoing)
    return any(not to or (error.destination, error.destination_port) in to for error in errors)


def _with(packets: Iterable[TapPacket], to: Places) -> Iterator[TapPacket]:
    return (packet for packet in packets if not to or packet.remote in to)


def _asks(packet: TapPacket) -> bool:
    return packet.outgoing and packet.tunnel is not None and packet.tunnel.kind in _ASKING


def _is_call(packet: TapPacket) -> bool:
    return packet.tunnel is not None and packet.tunnel.kind == "initiation"
