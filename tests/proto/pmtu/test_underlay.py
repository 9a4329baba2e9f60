"""Which size a host refused, against simulated paths: silence only makes the answer smaller."""

import errno

import pytest

from preflight.proto.core import ORIGIN_ICMP, Refusal
from preflight.proto.pmtu.underlay import RefusedSizes

TOKEN = bytes(range(8))


def refused_by(limit: int, *, address: str = "192.0.2.1", mute: frozenset[int] = frozenset()) -> tuple[int | None, int]:
    """What is found where packets up to `limit` bytes arrive, and how many were sent; `mute` sizes get no answer."""
    core, now, sent = RefusedSizes(address=address, low=1280, high=1500, token=TOKEN, patience_s=0.5), 1.0, 0
    headers = 48 if ":" in address else 28
    while (timer := core.get_timer()) is not None:
        now = max(now, timer)
        core.handle_timer(now)
        for datagram in core.datagrams_to_send(now):
            sent += 1
            size = len(datagram.data) + headers
            if size <= limit and size not in mute:
                core.refused(Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, quoted=datagram.data[:32]), now + 0.01)
    return core.result, sent


@pytest.mark.parametrize("limit", [1280, 1283, 1312, 1437, 1499, 1500])
@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_the_largest_size_is_exact(limit: int, address: str) -> None:
    """Protects the byte: every fourth size first, then the three above the best; sizes are IP packets."""
    found, sent = refused_by(limit, address=address)
    assert found == limit
    assert sent <= 56 + 3


def test_silence_proves_nothing() -> None:
    """Protects against guesses: no answer gives no size, and a missing answer only makes the result smaller."""
    assert refused_by(0) == (0, 56)
    assert refused_by(1402, mute=frozenset({1402, 1401}))[0] == 1400


def test_what_quotes_another_packet_is_ignored() -> None:
    """Protects against forged errors: without the token nothing is believed."""
    core = RefusedSizes(address="192.0.2.1", low=1280, high=1500, token=TOKEN, patience_s=0.5)
    core.datagrams_to_send(1.0)
    for quoted in (b"", TOKEN, b"elsewhat" + (1280).to_bytes(2), TOKEN + (1281).to_bytes(2)):
        core.refused(Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, quoted=quoted), 1.1)
    core.handle_timer(2.0)
    core.datagrams_to_send(2.0)
    assert core.result == 0
