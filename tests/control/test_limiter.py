"""The token bucket, with the time given."""

from preflight.control.config import Rate
from preflight.control.limiter import LARGEST_TABLE, Limiter


def test_a_burst_then_the_rate() -> None:
    """Three at once, then one every half second; idle time fills the bucket and no more."""
    limiter = Limiter(Rate(per_second=2, burst=3))
    assert [limiter.delay("a", 10.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limiter.delay("a", 10.25) == 0.25
    assert limiter.delay("a", 10.5) == 0
    assert limiter.delay("a", 10.5) == 0.5
    assert [limiter.delay("a", 1000.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_clients_do_not_share() -> None:
    """A client that sends too fast does not lock out another."""
    limiter = Limiter(Rate(per_second=1, burst=1))
    assert [limiter.delay(client, 0.0) for client in ("a", "a", "b")] == [0, 1, 0]


def test_the_table_does_not_grow_for_ever() -> None:
    """Clients that were idle long enough are forgotten, those still limited are not."""
    limiter = Limiter(Rate(per_second=1, burst=2))
    for number in range(LARGEST_TABLE):
        limiter.delay(str(number), 0.0)
    limiter.delay("busy", 99.5)
    limiter.delay("busy", 99.5)
    assert limiter.delay("busy", 100.0) == 0.5
    limiter.delay("new", 100.0)
    assert len(limiter._buckets) == 2


def test_who_has_many_addresses_fills_no_memory() -> None:
    """While the table is full of clients that are limited, new ones share a bucket, and those in it keep theirs."""
    limiter = Limiter(Rate(per_second=1, burst=2))
    for number in range(LARGEST_TABLE):
        limiter.delay(str(number), 0.0)
    assert [limiter.delay(client, 0.0) > 0 for client in ("new", "newer", "newest", "0", "0")] == [
        False, False, True, False, True,
    ]  # fmt: skip
    assert len(limiter._buckets) == LARGEST_TABLE + 1
    assert limiter.delay("new", 3.0) == 0
    assert len(limiter._buckets) == 1
