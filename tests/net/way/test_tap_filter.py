"""The kernel's filter of a tap, run on packets by a small interpreter: what is ours comes through, and nothing else."""

from collections.abc import Sequence

import pytest

from preflight.net import bpf
from preflight.net.bpf import Instruction
from preflight.net.way.tap_filter import ETH_P_IP, ETH_P_IPV6, MOST_ADDRESSES, MOST_PORTS, error_filter, tap_filter
from tests.proto.way.test_ip_packets import HOP_BY_HOP, W4, W6, fragment, udp, v4, v6

OURS = tap_filter(frozenset({862, 51820}), frozenset({W4, W6}))
BIGGEST = tap_filter(
    frozenset(range(1, MOST_PORTS + 1)), frozenset(f"192.0.2.{number}" for number in range(MOST_ADDRESSES))
)


def keeps(program: Sequence[Instruction], packet: bytes, ethernet_type: int = 0) -> bool:
    """What the kernel would do: classic BPF by bpf(4), as far as the filter uses it."""
    kind = ethernet_type or (ETH_P_IPV6 if packet[0] >> 4 == 6 else ETH_P_IP)
    at = accumulator = index = 0
    sizes = {
        bpf.LOAD_BYTE: 1, bpf.LOAD_HALF: 2, bpf.LOAD_WORD: 4, bpf.LOAD_BYTE_BEHIND_HEADER: 1,
        bpf.LOAD_HALF_BEHIND_HEADER: 2,
    }  # fmt: skip
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code in sizes:
            place = operand + (index if code in (bpf.LOAD_BYTE_BEHIND_HEADER, bpf.LOAD_HALF_BEHIND_HEADER) else 0)
            if operand == bpf.PROTOCOL_AT:
                accumulator = kind
            elif place + sizes[code] > len(packet):
                return False
            else:
                accumulator = int.from_bytes(packet[place : place + sizes[code]], "big")
        elif code == bpf.IP_HEADER_LENGTH:
            index = (packet[operand] & 15) * 4
        elif code == bpf.RETURN:
            return operand == bpf.WHOLE
        elif code == bpf.JUMP:
            at += operand
        else:
            holds = {
                bpf.EQUAL: accumulator == operand,
                bpf.ANY_BIT: bool(accumulator & operand),
                bpf.AT_LEAST: accumulator >= operand,
            }[code]
            at += if_true if holds else if_false


ERROR_V4, ERROR_V6 = bytes((3, 3)) + bytes(6), bytes((1, 4)) + bytes(6)
KEPT = {
    "a datagram": v4(udp()),
    "with options": v4(udp(), options=b"\1" * 8),
    "IPv6": v6(udp()),
    "a first fragment": v4(udp(), offset=0x2000),
    "a later fragment of the endpoint": v4(bytes(40), offset=185),
    "a first fragment of IPv6": v6(fragment(udp(), 0), 44),
    "a later fragment of IPv6": v6(fragment(bytes(40), 185), 44),
    "an error": v4(ERROR_V4 + v4(udp())[:28], 1),
    "an error about a packet with options": v4(ERROR_V4 + v4(udp(), options=b"\1" * 8)[:36], 1),
    "an error of IPv6": v6(ERROR_V6 + v6(udp()), 58),
    "an error about a fragment": v6(ERROR_V6 + v6(fragment(udp(), 0), 44), 58),
}


@pytest.mark.parametrize("packet", KEPT.values(), ids=KEPT)
def test_what_is_ours_comes_through(packet: bytes) -> None:
    """By its ports, and a later fragment by its address."""
    assert keeps(OURS, packet)


OTHER = udp().replace((862).to_bytes(2, "big"), (863).to_bytes(2, "big"))
DROPPED = {
    "another port": v4(OTHER),
    "another port, IPv6": v6(OTHER),
    "TCP": v4(udp(), 6),
    "an echo": v4(bytes((8, 0)) + bytes(6) + v4(udp()), 1),
    "an error about others": v4(ERROR_V4 + v4(OTHER)[:28], 1),
    "an error about TCP": v4(ERROR_V4 + v4(udp(), 6)[:28], 1),
    "an error of IPv6 about others": v6(ERROR_V6 + v6(OTHER), 58),
    "a neighbour's question": v6(bytes((135, 0)) + bytes(22), 58),
    "behind options of IPv6, which tunnels do not use": v6(HOP_BY_HOP + udp(), 0),
    "cut short": v4(udp())[:22],
}


@pytest.mark.parametrize("packet", DROPPED.values(), ids=DROPPED)
def test_everything_else_stays_in_the_kernel(packet: bytes) -> None:
    """A busy uplink must not wake the process for each packet."""
    assert not keeps(OURS, packet)


def test_another_protocol_is_not_read_as_ip() -> None:
    """ARP's bytes may look like anything."""
    assert not keeps(OURS, v4(udp()), 0x0806)


def test_the_largest_filter_fits_its_jumps() -> None:
    """A jump is one byte: the last port and the last address are still found."""
    assert all(if_true < 256 and if_false < 256 for _, if_true, if_false, _ in BIGGEST)
    assert len(BIGGEST) < 4096
    assert keeps(BIGGEST, v6(udp().replace((862).to_bytes(2, "big"), MOST_PORTS.to_bytes(2, "big"))))
    last = udp().replace((862).to_bytes(2, "big"), MOST_PORTS.to_bytes(2, "big"))
    assert keeps(BIGGEST, v4(last))
    assert not keeps(BIGGEST, v4(OTHER))
    with pytest.raises(ValueError, match="too many"):
        tap_filter(range(1, MOST_PORTS + 2), ())


def test_without_addresses_no_later_fragment_is_kept() -> None:
    """It belongs to nobody that is known."""
    bare = tap_filter(frozenset({862}), ())
    assert not keeps(bare, v4(bytes(40), offset=185))
    assert not keeps(bare, v6(fragment(bytes(40), 185), 44))
    assert keeps(bare, v4(udp()))


ABOUT_TCP = v4(ERROR_V4 + v4(bytes(20), 6), 1)


@pytest.mark.parametrize(
    "packet", [ABOUT_TCP, v4(ERROR_V4 + v4(udp()), 1, options=b"\1" * 4), v6(ERROR_V6 + v6(udp()), 58)]
)
def test_errors_about_anything(packet: bytes) -> None:
    """Also about what no tunnel sent: a router has only a few of them for a node."""
    assert keeps(error_filter(), packet)


@pytest.mark.parametrize(
    "packet",
    [v4(udp()), v6(udp()), v4(b"\0" + bytes(7), 1), v6(bytes((128, 0)) + bytes(6), 58), v4(ERROR_V4, 1, offset=3)],
)
def test_no_other_packets(packet: bytes) -> None:
    """Echoes, datagrams and later fragments."""
    assert not keeps(error_filter(), packet)


def test_errors_come_by_ip_only() -> None:
    """A frame of anything else is left unread."""
    assert not keeps(error_filter(), ABOUT_TCP, 0x0806)
