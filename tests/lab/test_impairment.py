"""The bad link: a pure queue whose clock and dice the test controls."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.lab.impairment import HELD_S, ImpairedLink, Impairment, undiminished


def dice(*numbers: float) -> Callable[[], float]:
    thrown = iter(numbers)
    return lambda: next(thrown)


def carry(link: ImpairedLink, packets: Iterable[bytes], *, every_s: float) -> list[tuple[float, bytes]]:
    """Send packets at a steady pace and return when each came out."""
    out: list[tuple[float, bytes]] = []

    def drain(until: float) -> None:
        while (deadline := link.deadline()) is not None and deadline <= until:
            out.extend((deadline, packet) for packet in link.leave(deadline))

    now = 0.0
    for packet in packets:
        drain(now)
        link.accept(packet, now)
        now += every_s
    drain(float("inf"))
    return out


PACKETS = [bytes([number]) for number in range(100)]


def test_a_good_link_changes_nothing() -> None:
    """Protects everything else that the lab measures."""
    out = carry(ImpairedLink(Impairment(), lambda: 0.5), PACKETS, every_s=0.01)
    assert [packet for _, packet in out] == PACKETS
    assert [time for time, _ in out] == pytest.approx([number * 0.01 for number in range(100)])


def test_delay() -> None:
    """Protects the delay: every packet is late by just that, however close together they came."""
    out = carry(ImpairedLink(Impairment(delay_ms=40), lambda: 0.5), PACKETS, every_s=0.001)
    assert [time - number * 0.001 for number, (time, _) in enumerate(out)] == pytest.approx([0.04] * 100)


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=100, max_size=100))
def test_jitter_keeps_the_order(thrown: list[float]) -> None:
    """Protects the jitter scenario from being named reordering; and no packet is early or later than the jitter."""
    out = carry(ImpairedLink(Impairment(delay_ms=10, jitter_ms=50), dice(*thrown)), PACKETS, every_s=0.005)
    assert [packet for _, packet in out] == PACKETS
    late = [time - number * 0.005 for number, (time, _) in enumerate(out)]
    assert min(late) >= 0.01 - 1e-9
    assert max(late) <= 0.06 + 1e-9


def test_loss() -> None:
    """Protects loss: what the dice hit is lost, the rest is not late."""
    link = ImpairedLink(Impairment(loss_percent=50), dice(0.4, 0.6, 0.5, 0.5, 0.5))
    assert [packet for _, packet in carry(link, PACKETS[:3], every_s=0.01)] == PACKETS[1:3]


def test_duplication() -> None:
    """Protects duplication: the copy follows its packet."""
    link = ImpairedLink(Impairment(duplication_percent=50), dice(0.5, 0.6, 0.5, 0.1, 0.5, 0.6))
    order = [packet[0] for _, packet in carry(link, PACKETS[:3], every_s=0.01)]
    assert order == [0, 1, 1, 2]


def test_reordering() -> None:
    """Protects reordering: a packet lets the next one pass, and is not late beyond that."""
    link = ImpairedLink(Impairment(reordering_percent=50), dice(0.5, 0.1, 0.5, 0.5, 0.9))
    out = carry(link, PACKETS[:3], every_s=0.01)
    assert [packet[0] for _, packet in out] == [1, 0, 2]
    assert out[1][0] == pytest.approx(0.01)


def test_the_last_packet_is_not_held_for_ever() -> None:
    """Protects the end of a burst: with nobody to overtake it, a packet goes on its way."""
    out = carry(ImpairedLink(Impairment(reordering_percent=100), lambda: 0.0), PACKETS[:1], every_s=0.01)
    assert out == [(HELD_S, PACKETS[0])]


def test_a_slow_link_queues_and_then_drops() -> None:
    """Protects rate limits: a packet takes its time on the line, waits behind others, and a full queue drops."""
    link = ImpairedLink(Impairment(rate_kbit=800), chance=lambda: 0.5)
    for _ in range(40):
        link.accept(bytes(900), now=0.0)  # 9 ms each at 800 kbit/s
    assert [len(link.leave(at)) for at in (0.0085, 0.0095, 0.0455, 10.0)] == [0, 1, 4, 18]
    link.accept(bytes(1000), now=20.0)
    assert link.deadline() == pytest.approx(20.01)


@pytest.mark.parametrize("checksum", [None, 0x0000, 0x0042, 0x00FF, 0x0100, 0xFFFF])
def test_a_bad_link_is_no_hop(checksum: int | None) -> None:
    """Protects traceroutes from a router that is not there, in both families, with the header's checksum kept right."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6

    whole = IP(src="10.66.0.1", dst="10.66.0.2", ttl=64) / UDP(dport=862) / b"payload"
    less = IP(src="10.66.0.1", dst="10.66.0.2", ttl=63) / UDP(dport=862) / b"payload"
    assert undiminished(bytes(less)) == bytes(whole)
    assert undiminished(bytes(IPv6(hlim=63) / b"x")) == bytes(IPv6(hlim=64) / b"x")
    if checksum is not None:
        packet = bytes(less)[:10] + checksum.to_bytes(2) + bytes(less)[12:]
        given = undiminished(packet)
        assert given[8] == 64
        # Sums of all words, checksum among them: in ones' complement equal before and after.
        assert words(given) % 0xFFFF == words(packet) % 0xFFFF
    assert undiminished(b"") == b""
    assert undiminished(b"\x45" * 19) == b"\x45" * 19


def words(packet: bytes) -> int:
    """The sum of an IPv4 header's 16-bit words."""
    return sum(int.from_bytes(packet[at : at + 2]) for at in range(0, 20, 2))
