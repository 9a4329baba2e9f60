"""What counts as the tunnel's packets with one peer, each once, and what counts as accepted."""

from dataclasses import replace

import pytest

from preflight.model.udp_port import UdpPort
from preflight.net.way.tap_filter import MOST_ADDRESSES
from preflight.proto.way.tunnel_view import (
    carrier_of,
    fragments_between,
    inside,
    messages,
    on_the_wire,
    settled,
    tunnel_ports,
)
from tests.proto.way.seeing import (
    BURST,
    KEY_C,
    LENGTH,
    PORT,
    READ_NS,
    THERE,
    THIRD,
    B,
    grown,
    inner,
    outer,
    peer,
    state,
    view,
)

DATA = outer("data", out=True)


def test_a_packet_on_several_devices_counts_once() -> None:
    """A bridge or a pair of devices shows it again; the device that the route names is taken."""
    copies = (replace(DATA, device="veth0"), DATA, replace(DATA, device="br0"))
    assert on_the_wire(view(*copies)).out == (DATA,)
    assert on_the_wire(view(*copies)).device == "eth0"
    assert len(on_the_wire(view(*copies, uplink=None)).out) == 1


def test_only_the_peer_s_endpoint_counts() -> None:
    """Others, and another tunnel of this node, have their ways."""
    other = outer("data", out=True, remote=(THIRD, PORT))
    another_tunnel = outer("data", out=True, local_port=9)
    known = view(DATA, other, another_tunnel, before=state(peer(), peer(KEY_C, "10.66.0.3", f"{THIRD}:{PORT}")))
    assert on_the_wire(known).out == (DATA,)
    assert on_the_wire(known).elsewhere == ()


def test_a_peer_that_roamed_is_known_by_both_endpoints() -> None:
    """What it sent from the old one and from the new one is its own."""
    new = outer("data", out=False, remote=("203.0.113.8", 7))
    seen = view(DATA, new, outer("data", out=False), after=grown(state(), endpoint="203.0.113.8:7"))
    assert len(on_the_wire(seen).into) == 2


def test_what_comes_from_nobody_that_is_known() -> None:
    """It is kept apart: answers from elsewhere may be among it."""
    strange = outer("response", out=False, remote=("203.0.113.8", 7), receiver=1)
    assert on_the_wire(view(strange)).elsewhere == (strange,)
    assert on_the_wire(view(strange)).into == ()


def test_messages_that_offload_joined_are_counted_one_by_one() -> None:
    """Ten packets of a burst may be one on the tap."""
    joined = outer("data", out=True, messages=10)
    assert messages([joined], "data", carrying=LENGTH) == 10
    assert messages([joined], "data", carrying=LENGTH + 100) == 0
    assert messages([joined], "initiation") == 0


def test_what_came_last_may_not_be_counted_yet() -> None:
    """The product is read a moment after the last packet."""
    late = replace(DATA, received_ns=READ_NS - 1000)
    assert settled(view(), [DATA, late]) == (DATA,)


def test_only_the_burst_counts_inside() -> None:
    """By its ports and by the peer's address; a source that was rewritten is seen too."""
    rewritten = inner(out=True, source="192.168.1.1")
    others = (
        replace(rewritten, destination_port=53), replace(rewritten, destination="10.66.0.9"),
        replace(rewritten, device="wg1"),
    )  # fmt: skip
    assert inside(view(*BURST, rewritten, *others), outgoing=True) == (*BURST, rewritten)
    assert inside(view(*BURST), outgoing=False) == ()


def test_counters_of_the_peer() -> None:
    """They grow from the state before; one that went back has begun again, and proves nothing."""
    seen = view(after=grown(state(), rx_bytes=1500, tx_bytes=10, last_handshake_unix_s=1.0))
    assert (seen.received, seen.counted_sent, seen.shook_hands, seen.never) == (500, 0, True, False)
    assert view(before=state(peer(last_handshake_unix_s=0.0))).never
    assert not view(before=state(peer(last_handshake_unix_s=READ_NS / 1e9 - 200))).alive


def test_what_only_handshakes_add_up_to() -> None:
    """A response of 92 bytes or an initiation of 148, and no sum that data (multiples of 16) can make with one too."""
    counts = (0, 92, 148, 184, 240, 276, 332, 1000)
    only = [view(after=state(peer(rx_bytes=count))).only_handshakes for count in counts]
    assert only == [False, True, True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("product", "kind", "program", "carrier"),
    [
        ("wireguard", "tun", None, "wireguard"),
        ("nebula", "tun", None, "nebula"),
        ("tailscale", "tun", None, None),
        ("generic", "vxlan", None, "vxlan"),
        ("generic", "tun", "openvpn", "openvpn"),
        ("generic", "tun", "other", None),
    ],
)
def test_whose_packets_carry_the_tunnel(product: str, kind: str, program: str | None, carrier: str | None) -> None:
    """A device that no product claims is known by its kind, or by the program that has a socket."""
    ports = (UdpPort(1194, "0.0.0.0", program),)
    known = state(product=product)
    assert carrier_of(known, kind, ports) == carrier
    assert (tunnel_ports(known, carrier, ports) == {1194}) is (carrier == "openvpn")
    assert view().endpoint == f"{THERE}:{PORT}"


def test_the_ports_by_which_a_tunnel_is_known() -> None:
    """Its own is in each packet, so those of a thousand endpoints are not needed."""
    assert tunnel_ports(state(peer(endpoint=f"{THERE}:7")), "wireguard", ()) == {PORT}
    without = state(peer(endpoint=f"{THERE}:7"), peer(endpoint=None), listen_port=None)
    assert tunnel_ports(without, "wireguard", ()) == {7}


def test_a_mesh_of_many_peers_does_not_overflow_the_filter() -> None:
    """A tap that cannot be opened sees nothing at all, so only some endpoints are watched for fragments."""
    many = [peer(f"key {each}", f"10.66.1.{each}", f"203.0.113.{each}:51820") for each in range(1, 99)]
    watched = fragments_between(state(*many, peer()), B)
    assert THERE in watched
    assert len(watched) <= MOST_ADDRESSES
    assert fragments_between(state(peer()), "10.66.9.9") == {THERE}
