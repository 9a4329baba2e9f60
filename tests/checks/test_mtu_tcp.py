"""mtu.tcp: tables from what the kernel said to the verdict. Real tunnels: tests/lab/test_tcp_view.py."""

from dataclasses import replace

import pytest
from preflight_checks.mtu_tcp import crowded, judge, smaller

from preflight.api import Result, codes
from preflight.model.tcp import TcpInfo, Transfer
from preflight.proto.control.url import ControlUrl

URL = ControlUrl("http", "10.66.0.3", 9847)
IDLE = TcpInfo(
    snd_mss=1368,
    rcv_mss=1368,
    advmss=1368,
    pmtu=1420,
    unacked=0,
    sacked=0,
    lost=0,
    retransmitted=0,
    timeouts=0,
    acked=5684,
    received=9000,
    out_of_order=0,
    rtt_us=400,
    timestamps=True,
)
GOOD = Transfer("10.66.0.3", 9847, "finished", 5683, info=IDLE)
SHORT = replace(GOOD, info=replace(IDLE, rcv_mss=536, received=300))
LOST = replace(IDLE, rcv_mss=536, unacked=5, sacked=1, lost=4, retransmitted=7, acked=1, received=0)
STALL = replace(GOOD, outcome="unfinished", info=LOST)
WAITS = replace(GOOD, outcome="unfinished", info=replace(IDLE, rcv_mss=536, received=800))
HANDSHAKE = replace(WAITS, info=replace(IDLE, rcv_mss=536, acked=518, received=0, out_of_order=1))
SLOW = replace(GOOD, outcome="unfinished", info=replace(IDLE, unacked=2, lost=2, retransmitted=6, acked=2737))
SLOW_BACK = replace(GOOD, outcome="unfinished", info=replace(IDLE, received=2000))
SMALL = replace(GOOD, max_segment=1200, info=replace(IDLE, snd_mss=1188, rcv_mss=1188))
SMALL_STALL = replace(STALL, max_segment=1200)
SMALL_WAITS = replace(WAITS, max_segment=1200)
REFUSED = replace(GOOD, outcome="refused", info=None, detail="Connection refused")
CUT = replace(GOOD, outcome="failed", info=replace(IDLE, acked=100), detail="Connection reset by peer")

Findings = list[tuple[str, str | None, str]]
THERE, BACK = ("pass", None, "forward"), ("pass", None, "reverse")
HOLE = ("fail", "mtu.black-hole")
UNSTEADY = ("inconclusive", "run.timeout", "round-trip")


def verdicts(*transfers: Transfer, interface: str | None = "wg0") -> tuple[Result, ...]:
    results: tuple[Result, ...] = judge(URL, transfers, interface)
    return results


@pytest.mark.parametrize(
    ("transfers", "findings"),
    [
        ((GOOD,), [THERE, BACK]),
        ((SHORT,), [THERE]),
        ((), [("inconclusive", "run.no-answer", "round-trip")]),
        ((CUT,), [("inconclusive", "run.no-answer", "round-trip")]),
        ((REFUSED,), [UNSTEADY]),
        # It stalls, runs with small segments, and stalls again.
        ((STALL, SMALL, STALL), [(*HOLE, "forward")]),
        ((WAITS, SMALL, WAITS), [THERE, (*HOLE, "reverse")]),
        # A server that takes all and answers nothing: the way there is shown, the finding belongs to control.health.
        ((WAITS, SMALL_WAITS), [THERE]),
        ((STALL, SMALL_WAITS, STALL), [(*HOLE, "forward")]),
        # Full segments that were acknowledged, or that came, are proof against it, however slow all was.
        ((SLOW, SMALL, SLOW), [THERE, BACK]),
        ((SLOW_BACK, SMALL, SLOW_BACK), [THERE, BACK]),
        # Without the comparison nothing is proven.
        ((STALL, SMALL_STALL), [UNSTEADY]),
        ((STALL, REFUSED), [UNSTEADY]),
        ((STALL, SMALL, GOOD), [THERE, BACK]),
        ((STALL, SMALL, WAITS), [THERE]),
        ((WAITS, SMALL, GOOD), [THERE, BACK]),
        ((WAITS, SMALL, STALL), [UNSTEADY]),
        ((STALL, SMALL, REFUSED), [UNSTEADY]),
        # The TLS handshake is over before the request: what stalls is the server's certificates.
        ((HANDSHAKE, SMALL, HANDSHAKE), [(*HOLE, "reverse")]),
        ((HANDSHAKE, replace(HANDSHAKE, max_segment=1200)), [UNSTEADY]),
    ],
)
def test_verdicts(transfers: tuple[Transfer, ...], findings: Findings) -> None:
    """Protects the rule: only a stall that small segments cure, and that comes back without them, is a black hole."""
    results = verdicts(*transfers)
    assert [(r.status.value, r.code.slug if r.code else None, r.direction.value) for r in results] == findings


@pytest.mark.parametrize(
    ("address", "tunnel_bytes", "size"),
    [("10.66.0.3", 1420, 1180), ("10.66.0.3", 1200, 960), ("10.66.0.3", None, 1240), ("fd66::3", 1420, 1280)],
)
def test_small_packets_are_smaller_than_full_ones(address: str, tunnel_bytes: int | None, size: int) -> None:
    """Protects narrow interfaces: a repeat with packets as large as the first would prove nothing."""
    assert smaller(address, tunnel_bytes) == size


def test_a_black_hole_on_the_way_there() -> None:
    """Protects the evidence in the message, and the line that helps at once and both ways."""
    (result,) = verdicts(STALL, SMALL, STALL)
    assert result.message == (
        "TCP to 10.66.0.3:9847 stalls: 1420-byte packets are lost (4 segments, sent again 7 times) and the path MTU "
        "stays 1420, twice; with packets of 1240 bytes the request completes: larger packets vanish on the way there; "
        "it is not known what the way back carries"
    )
    assert result.remedy is not None
    assert result.remedy.startswith("ip route replace 10.66.0.3/32 dev wg0 mtu lock 1240 ")
    assert result.evidence[0].data[0]["tcp_info"]["lost"] == 4
    assert result.attempts == 3


def test_a_black_hole_on_the_return_path() -> None:
    """Protects the other direction: the request arrived, so the way there is not the cause."""
    gap = replace(WAITS, info=replace(IDLE, rcv_mss=536, out_of_order=2))
    there, back = verdicts(gap, SMALL, gap)
    assert there.message == "1420-byte packets of TCP arrive at 10.66.0.3:9847"
    stalls = "stalls (2 segments behind a gap) although everything that this node sent has arrived, twice"
    assert back.message.startswith(f"the answer of 10.66.0.3:9847 {stalls}")
    (shaken,) = verdicts(HANDSHAKE, SMALL, HANDSHAKE)
    assert shaken.message.startswith("the TLS handshake of 10.66.0.3:9847 stalls (1 segments behind a gap) although ")


def test_ipv6_counts_its_own_headers() -> None:
    """Protects the arithmetic of both families, and a route that IPv6 accepts: never below 1280."""
    stall, small = (replace(each, address="fd66::3") for each in (STALL, replace(SMALL, max_segment=1220)))
    (result,) = verdicts(stall, small, stall)
    assert "1440-byte packets are lost" in result.message
    assert result.remedy is not None
    assert result.remedy.startswith("ip route replace fd66::3/128 dev wg0 mtu lock 1280 ")


def test_off_the_overlay_no_route_is_advised() -> None:
    """Protects networks that are not ours to change."""
    (result,) = verdicts(STALL, SMALL, STALL, interface=None)
    assert result.remedy is not None
    assert result.remedy.startswith("preflight run mtu.echo mtu.path --peer 10.66.0.3 ")


@pytest.mark.parametrize(
    ("probing", "words"), [(0, "an MSS clamp on the path, keeps them below this node's 1420"), (2, "tcp_mtu_probing")]
)
def test_tcp_that_is_kept_small_says_nothing_about_udp(probing: int, words: str) -> None:
    """Protects the reader from a pass that means TCP only: a clamp, or the kernel's own search, keeps it small."""
    clamped = replace(GOOD, info=replace(IDLE, snd_mss=1188, rcv_mss=1188), probing=probing)
    there, _ = verdicts(clamped)
    assert there.message.startswith("1240-byte packets of TCP arrive at 10.66.0.3:9847")
    assert words in there.message


def test_what_was_not_measured_is_not_claimed() -> None:
    """Protects honesty: a request that is not longer than a segment, and data that is not an answer."""
    (jumbo,) = verdicts(replace(GOOD, info=replace(IDLE, snd_mss=65483, rcv_mss=536)))
    assert "full segments have 65483 bytes here" in jumbo.message
    (short,) = verdicts(SHORT)
    assert short.message.endswith("; nothing as large came back, so the reverse direction is not known")
    there, _ = verdicts(STALL, SMALL, GOOD)
    assert "packets were lost, but not because of their size" in there.message


def test_only_the_declared_code_fails() -> None:
    """Protects the catalogue: whatever the attempts were, the only failure is the black hole."""
    attempts = (GOOD, SHORT, STALL, WAITS, SMALL, SMALL_STALL, SMALL_WAITS, REFUSED, CUT)
    for first in attempts:
        for second in attempts:
            for third in attempts:
                for result in verdicts(first, second, third):
                    assert result.status.value != "fail" or result.code is codes.MTU_BLACK_HOLE


def test_only_what_was_lost_at_any_size_is_tried_again_alone() -> None:
    """Behind what other checks send over a slow link small segments are lost too; a black hole carries them."""
    assert crowded((STALL, SMALL_STALL))
    assert not crowded((STALL, SMALL, STALL))
    assert not crowded((WAITS, SMALL_WAITS))
    assert not crowded((GOOD,))
