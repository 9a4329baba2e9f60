"""Whose sessions a peer's packets are for."""

import pytest

from preflight.model.tapped import Kind, TapPacket, Tapped, TunnelPacket
from preflight.proto.tunnel.endpoint_turns import Seen
from preflight.proto.tunnel.sessions_seen import Reading, for_another, on_the_wire, one_machine, strange

B, OTHER = "192.0.2.2:51820", "192.0.2.9:51820"
OURS, ANOTHERS = 7, 99


def packet(at: int, kind: Kind, place: str = B, *, session: int | None = None, out: bool = False) -> TapPacket:
    """A packet of the tunnel at a second; session: the receiver's number, or the sender's in what leaves."""
    host, _, port = place.rpartition(":")
    here, there = ("192.0.2.1", 51820), (host, int(port))
    (source, source_port), (destination, destination_port) = (here, there) if out else (there, here)
    return TapPacket(
        received_ns=at * 10**9,
        device="eth0",
        outgoing=out,
        source=source,
        destination=destination,
        source_port=source_port,
        destination_port=destination_port,
        tunnel=TunnelPacket(
            product="wireguard", kind=kind, sender=session if out else None, receiver=None if out else session
        ),
    )


STRANGE = (packet(2, "data", session=ANOTHERS), packet(3, "keepalive", session=ANOTHERS))
RENEWED = (packet(5, "initiation", session=OURS, out=True), packet(6, "response", session=OURS))
ACCEPTED = packet(7, "data", session=OURS)


def read(at: int, rx_bytes: int) -> Reading:
    """What the tunnel had counted at a moment."""
    return Reading(at * 10**9, rx_bytes)


BEFORE, AFTER = (read(1, 500), read(4, 500)), read(9, 700)


@pytest.mark.parametrize(
    ("packets", "readings", "found"),
    [
        ((*STRANGE, *RENEWED, ACCEPTED), (*BEFORE, AFTER), 2),
        # A handshake with another peer in between says nothing of this one.
        ((packet(1, "initiation", OTHER, session=5, out=True), *STRANGE, *RENEWED, ACCEPTED), (*BEFORE, AFTER), 2),
        ((*STRANGE, *RENEWED[:1], packet(5, "initiation", OTHER, session=5, out=True)), (*BEFORE, AFTER), 0),
        # Without a handshake something on the way may drop them, as it may where the new session carries nothing.
        (STRANGE, (*BEFORE, read(9, 500)), 0),
        ((*STRANGE, *RENEWED), (*BEFORE, AFTER), 0),
        ((*STRANGE, *RENEWED, ACCEPTED), (*BEFORE, read(9, 500)), 0),
        # What was accepted was for this node; what came before the first reading is not known.
        ((*STRANGE, *RENEWED, ACCEPTED), (read(1, 400), read(4, 500), AFTER), 0),
        ((*STRANGE, *RENEWED, ACCEPTED), (read(3, 500), read(4, 500), AFTER), 0),
        # Nothing was read between them and the handshake: they may have been for the session that it renewed.
        ((*STRANGE, *RENEWED, ACCEPTED), (BEFORE[0], AFTER), 0),
        # One message may be late; those of others are not the peer's.
        ((STRANGE[0], *RENEWED, ACCEPTED), (*BEFORE, AFTER), 0),
        ((*(packet(2, "data", OTHER, session=ANOTHERS),) * 2, *RENEWED, ACCEPTED), (*BEFORE, AFTER), 0),
        ((), (), 0),
    ],
)
def test_data_for_another_machine_with_this_node_s_key(
    packets: tuple[TapPacket, ...], readings: tuple[Reading, ...], found: int
) -> None:
    """Proven only where the same way carries what is for this node's own session."""
    assert for_another(Tapped(packets=packets), B, readings) == found


def test_what_passed_unread_proves_nothing() -> None:
    """A handshake or an accepted packet may have been among it."""
    packets = (*STRANGE, *RENEWED, ACCEPTED)
    assert for_another(Tapped(packets=packets, dropped=1), B, (*BEFORE, AFTER)) == 0


def test_what_is_worth_a_longer_look() -> None:
    """Data that the tunnel does not count."""
    assert strange(Tapped(packets=STRANGE), B, BEFORE) == 2
    assert strange(Tapped(packets=STRANGE), B, (read(1, 400), read(4, 500))) == 0
    assert strange(Tapped(packets=STRANGE), None, BEFORE) == 0


def test_one_machine_with_two_ways() -> None:
    """A session goes with the machine: a peer with two uplinks is not two machines."""
    moved = [packet(1, "data", session=OURS), packet(2, "data", OTHER, session=OURS)]
    assert one_machine(moved, (B, OTHER))
    assert not one_machine([moved[0], packet(2, "data", OTHER, session=8)], (B, OTHER))


def test_the_places_of_the_peer_alone() -> None:
    """Other peers come by the same port."""
    packets = [packet(1, "data", session=OURS), packet(2, "data", "192.0.2.77:1", session=3), *RENEWED]
    assert on_the_wire(packets, [Seen(B), Seen(OTHER)]) == [Seen(B, OURS)]
