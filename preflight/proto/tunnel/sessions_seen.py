"""With whom WireGuard's sessions are, by the receiver's numbers in the tunnel's own packets; pure.

Each end gives a session a number, which is in all data that is sent to that end. A machine that moves keeps its
session. Two machines with one key have a session each.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from preflight.model.host_port import join_host_port
from preflight.model.tapped import TapPacket, Tapped
from preflight.proto.tunnel.endpoint_turns import Seen

LEAST_MESSAGES = 2
_LEAST_READINGS = 2
SETTLED_NS = 100_000_000
"""What came in this long before a reading is in it, or was not accepted."""
_DATA = ("data", "keepalive")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the tunnel had counted from the peer at one moment, UNIX nanoseconds."""

    read_ns: int
    rx_bytes: int


def one_machine(packets: Iterable[TapPacket], places: Sequence[str]) -> bool:
    """Whether data of one session came from all of these places: then one machine has several ways here."""
    found: dict[int, set[str]] = {}
    for packet, session in _received(packets):
        found.setdefault(session, set()).add(_place(packet))
    return any(set(places) <= seen for seen in found.values())


def on_the_wire(packets: Iterable[TapPacket], seen: Iterable[Seen]) -> list[Seen]:
    """From where a peer's data came, in order, and for which session. seen: where the tunnel has had the peer."""
    places = {each.endpoint for each in seen}
    came = (Seen(_place(packet), session) for packet, session in _received(packets))
    return [each for each in came if each.endpoint in places]


def strange(tapped: Tapped, endpoint: str | None, readings: Sequence[Reading]) -> int:
    """How many messages with data came from the endpoint while the tunnel accepted nothing.

    Only until this node's next handshake; 0 where that is not certain.
    """
    return len(_strange(tapped, endpoint, readings))


def for_another(tapped: Tapped, endpoint: str | None, readings: Sequence[Reading]) -> int:
    """How many messages came for a session of a machine that has this node's key; 0 if that is not proven.

    What came before this node's handshake was not accepted, and what came for the session that this handshake made was:
    so nothing on the way drops such packets, and the earlier ones were for a session that this node does not have.
    """
    sessions = _strange(tapped, endpoint, readings)
    shook = _first_handshake(tapped, endpoint)
    if shook is None or shook.tunnel is None or len(sessions) < LEAST_MESSAGES or shook.tunnel.sender in sessions:
        return 0
    own = [each.received_ns for each, session in _received(tapped.packets) if session == shook.tunnel.sender]
    accepted = own and readings[-1].rx_bytes > readings[0].rx_bytes
    return len(sessions) if accepted and readings[-1].read_ns > own[0] else 0


def _strange(tapped: Tapped, endpoint: str | None, readings: Sequence[Reading]) -> list[int]:
    """The sessions of these messages."""
    shook = _first_handshake(tapped, endpoint)
    before = [each for each in readings if shook is None or each.read_ns <= shook.received_ns]
    # What came behind the last reading before a handshake may have been accepted: in a session that it renewed.
    if not tapped.complete or len(before) < _LEAST_READINGS or len({each.rx_bytes for each in before}) != 1:
        return []
    from_ns, until_ns = before[0].read_ns, before[-1].read_ns - SETTLED_NS
    return [
        session
        for each, session in _received(tapped.packets)
        if from_ns <= each.received_ns < until_ns and _place(each) == endpoint
    ]


def _first_handshake(tapped: Tapped, endpoint: str | None) -> TapPacket | None:
    """The first one that this node began or answered with the peer there: those with other peers say nothing of it."""
    own = (each for each in tapped.packets if each.outgoing and each.tunnel is not None and each.tunnel.is_handshake)
    return next((each for each in own if _place(each) == endpoint), None)


def _received(packets: Iterable[TapPacket]) -> Iterator[tuple[TapPacket, int]]:
    """The data that came in, and for which session."""
    for packet in packets:
        tunnel = packet.tunnel
        if tunnel is not None and not packet.outgoing and tunnel.kind in _DATA and tunnel.receiver is not None:
            yield packet, tunnel.receiver


def _place(packet: TapPacket) -> str:
    host, port = packet.remote
    return join_host_port(host, port or 0)
