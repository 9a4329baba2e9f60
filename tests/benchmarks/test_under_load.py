"""What iperf3 and ping print is read right, or the comparison is worth nothing."""

import time
from typing import cast

import pytest

from benchmarks.under_load import idle_trip, mean, pinging, ratios, round_trip, udp_rate
from preflight.lab.labs import Lab

PING = """PING 10.201.2.2 (10.201.2.2) 56(84) bytes of data.
[1795908081.100000] 64 bytes from 10.201.2.2: icmp_seq=1 ttl=63 time=0.400 ms
[1795908082.100000] 64 bytes from 10.201.2.2: icmp_seq=2 ttl=63 time=80.0 ms
[1795908083.100000] 64 bytes from 10.201.2.2: icmp_seq=3 ttl=63 time=100 ms
[1795908084.100000] 64 bytes from 10.201.2.2: icmp_seq=4 ttl=63 time=90.5 ms
"""


def test_only_replies_of_the_time_count() -> None:
    """The first half of a transfer, in which a queue fills, is not what others wait then."""
    assert round_trip(PING, 1795908079.0, 1795908085.0) == 90.5
    assert round_trip(PING, 0.0, 1.0) == 0.0
    assert idle_trip(PING, 1795908082.0) == 0.4


def test_what_was_lost_did_not_arrive() -> None:
    """iperf3 gives the sender's rate for UDP."""
    assert udp_rate({"end": {"sum": {"bits_per_second": 12e6, "lost_percent": 25.0}}}) == pytest.approx(9e6)


def test_several_transfers_are_one_number() -> None:
    """One transfer differs from ping by a tenth in either direction by chance; the row shows each of them."""
    assert mean([10.0, 12.0]) == 11.0
    assert mean([]) == 0.0
    assert ratios([9.0, 11.0], [10.0, 10.0]) == "0.90, 1.10"


def test_ping_is_never_held_up_by_what_it_prints() -> None:
    """A pipe that nobody reads holds 64 KiB: the second half of a long measurement had no pings."""

    class Talkative:
        """A lab in which ping prints a lot."""

        def command(self, words: list[str]) -> list[str]:
            """Lines for minutes, at once."""
            assert words[0] == "ping"
            return ["sh", "-c", "yes 'icmp_seq=1 ttl=63 time=0.400 ms' | head -n 5000; echo end; exec sleep 60"]

    with pinging(cast("Lab", Talkative())) as said:
        time.sleep(1.0)
    assert said[0].endswith("end\n")
