"""mtu.echo: tables from what one side found out to the verdict. Real searches: tests/net/pmtu/test_echo.py."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from preflight_checks.mtu_echo import REFUSALS_TRIED, Alone, judge, measure

from preflight.api import Context, Facts, Peer, Result, Status, codes
from preflight.model.facts import MtuSearchFacts
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.path import StampStats
from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.net.stamp.refusals import Refusals
from preflight.settings.load import Settings
from tests.kernel_says import by_the_tunnel
from tests.sample_facts import sample

B = Peer("10.66.0.2", "b")
WHOLE = PathMtu(direction="forward", outcome=SearchOutcome.MEASURED, ceiling_bytes=1420, mtu_bytes=1420, passed=(1420,))
HOLE = replace(WHOLE, mtu_bytes=1312, passed=(1312,), vanished=(1313, 1420))
SPLIT = replace(WHOLE, mtu_bytes=1312, passed=(1312,), fragmented=(1313, 1420))
SIGNALLED = replace(WHOLE, mtu_bytes=1380, vanished=(1381,), signalled=True, icmp_from=("10.66.0.9",))
SILENT = replace(WHOLE, outcome=SearchOutcome.NO_ANSWER, mtu_bytes=None, passed=())
FORBIDDEN = replace(SILENT, outcome=SearchOutcome.NOT_PERMITTED)
LOSSY = replace(HOLE, outcome=SearchOutcome.UNDECIDED)


def verdicts(
    echo: PathMtu | None, *, forward_bytes: int = 0, swallowed: int = 0, minimum_mtu: int = 1280
) -> tuple[Result, ...]:
    alone = Alone(echo, forward_bytes, swallowed, "wg0") if echo else None
    results: tuple[Result, ...] = judge(B, alone, minimum_mtu)
    return results


def findings(results: tuple[Result, ...]) -> list[tuple[str, str | None, str]]:
    return [(r.status.value, r.code.slug if r.code else None, r.direction.value) for r in results]


FORWARD = ("pass", None, "forward")


@pytest.mark.parametrize(
    ("echo", "alone", "with_forward"),
    [
        (None, [("skip", "run.not-applicable", "round-trip")], None),
        (WHOLE, [("pass", None, "round-trip")], None),
        (HOLE, [("fail", "mtu.black-hole", "round-trip")], [("fail", "mtu.black-hole", "reverse"), FORWARD]),
        (SPLIT, [("warn", "mtu.reduced", "reverse")], [("warn", "mtu.reduced", "reverse"), FORWARD]),
        (SIGNALLED, [("warn", "mtu.reduced", "round-trip")], None),
        (SILENT, [("inconclusive", "run.needs-responder", "round-trip")], None),
        (SILENT, None, [("inconclusive", "run.needs-responder", "round-trip"), FORWARD]),
        (FORBIDDEN, [("inconclusive", "run.needs-privilege", "round-trip")], None),
        (FORBIDDEN, None, [("inconclusive", "run.needs-privilege", "round-trip"), FORWARD]),
        (LOSSY, [("inconclusive", "run.timeout", "round-trip")], None),
    ],
)
def test_verdicts(
    echo: PathMtu | None,
    alone: list[tuple[str, str | None, str]] | None,
    with_forward: list[tuple[str, str | None, str]] | None,
) -> None:
    """Protects the table: a direction is named only where the way there is proven to be open."""
    if alone is not None:
        assert findings(verdicts(echo)) == alone
    if with_forward is not None:
        assert findings(verdicts(echo, forward_bytes=1420)) == with_forward


def test_fragments_that_openvpn_counts_on() -> None:
    """Its default of 1500 bytes never fits one packet, and all of it comes back."""
    split = replace(SPLIT, ceiling_bytes=1500, fragmented=(1313, 1500))
    (result,) = judge(B, Alone(split, interface="tun0", product="openvpn"), 1280)
    assert (result.status, "openvpn does so by default" in result.message) == (Status.PASS, True)
    assert judge(B, Alone(split, interface="wg0", product="wireguard"), 1280)[0].status is Status.WARN


def test_a_smaller_proof_is_no_proof_for_full_size() -> None:
    """Protects the direction: that 1312 bytes get there says nothing about 1420."""
    assert findings(verdicts(HOLE, forward_bytes=1312)) == [("fail", "mtu.black-hole", "round-trip")]


def test_what_a_closed_port_does_not_confirm_is_lost_on_the_way_there() -> None:
    """Protects the direction without a responder: its host refuses small packets, and large ones never came there."""
    (there,) = verdicts(HOLE, swallowed=3)
    assert (there.code, there.direction.value) == (codes.MTU_BLACK_HOLE, "forward")
    assert "large packets vanish on the way there" in there.message
    assert [remedy.host for remedy in there.remedies] == [None]


def test_what_stays_open_is_said() -> None:
    """Protects the reader from guesses: every verdict without a direction names who could show it."""
    for echo in (WHOLE, HOLE, SPLIT, SIGNALLED, SILENT):
        (result,) = verdicts(echo)
        assert "responder" in result.message, result.message


def test_black_hole() -> None:
    """Protects the main finding: the size that passes, what is known of the direction, and the MTU to set where."""
    (both,) = verdicts(HOLE)
    assert both.message == (
        "echoes over 1312 bytes to b get no answer and no ICMP error, but wg0 has MTU 1420; "
        "a responder at b would show in which direction large packets vanish"
    )
    assert [(remedy.host, remedy.kind) for remedy in both.remedies] == [(None, "fix"), ("b", "fix")]
    assert (both.remedy or "").startswith(
        "ip link set dev wg0 mtu 1312\nip link set dev $(ip -o address show to 10.66.0.2 "
    )
    back, _ = verdicts(HOLE, forward_bytes=1420)
    assert (
        "while UDP of 1420 bytes does get there: unless a filter drops large echoes, large packets vanish on the"
        in back.message
    )
    assert back.remedy == (
        "ip link set dev $(ip -o address show to 10.66.0.2 | awk '{print $2; exit}') mtu 1312   # on b"
    )


def test_below_the_minimum() -> None:
    """Protects overlays that need 1280: a failure where it is signalled too, and no tunnel setting is advised."""
    (short,) = verdicts(replace(SIGNALLED, mtu_bytes=1200))
    assert (short.status, short.code) == (Status.FAIL, codes.MTU_BELOW_MINIMUM)
    assert short.remedy == "Make the path under the tunnel carry more: 1200 bytes are less than the overlay's 1280."
    (hole,) = verdicts(replace(HOLE, mtu_bytes=1200))
    assert hole.code is codes.MTU_BLACK_HOLE
    assert "; the overlay must carry 1280" in hole.message
    (small,) = verdicts(replace(WHOLE, ceiling_bytes=1200, mtu_bytes=1200))
    assert small.code is codes.MTU_BELOW_MINIMUM
    assert small.remedy is not None
    assert small.remedy.startswith("ip link set dev wg0 mtu 1280\n")


def test_measurements_and_evidence() -> None:
    """Protects what dashboards read: numbers with units, and the sizes behind the verdict."""
    result, _ = verdicts(replace(HOLE, probes_sent=29, rounds=5, rtt_s=0.0015, duration_s=0.025), forward_bytes=1420)
    assert result.measurements == {
        "mtu_bytes": 1312,
        "interface_mtu_bytes": 1420,
        "forward_mtu_bytes": 1420,
        "signalled": False,
        "echoes": 29,
        "rounds": 5,
        "rtt_ms": 1.5,
        "search_ms": 25.0,
    }
    assert result.evidence[0].data["unanswered"] == [1313, 1420]


FIRST, RESPONDER = "small to 33434", "small to 862"


class Path:
    """Replaces `ctx.net`: what answers at the peer, and what was asked."""

    def __init__(
        self,
        echo: PathMtu,
        *,
        stamp: bool = False,
        probes: bool = False,
        refuses_at: int = 0,
        closed_port: int = 33434,
        said: bool = False,
        spent: int = 0,
    ) -> None:
        self.echo_result, self.stamped, self.probed, self.refuses_at = echo, stamp, probes, refuses_at
        self.closed_port = closed_port
        self.spent = spent
        self.asked: list[str] = []
        self.path = self.pmtu = self
        self.refusals = Refusals()
        if said:
            self.refusals.note(B, StampStats(sent=1, answered=0, port_unreachable=True))

    def silent(self, peer: Peer) -> bool:
        """As PathProbes: nobody has asked before."""
        return False

    async def stamp(self, peer: Peer, *, count: int, interval_s: float) -> StampStats:
        """As PathProbes."""
        return StampStats(sent=count, answered=count if self.stamped else 0)

    async def search(self, peer: Peer, direction: str, *, ceiling_bytes: int) -> PathMtu:
        """As PathMtuProbes."""
        return WHOLE if self.probed else SILENT

    async def with_routes(self, overlay: OverlayState | None, addresses: Iterable[str]) -> OverlayState | None:
        """As Net."""
        return await by_the_tunnel(overlay, addresses)

    async def echo(self, address: str, *, tunnel_bytes: int | None) -> PathMtu:
        """As PathMtuProbes."""
        self.asked.append("echo")
        return self.echo_result

    async def underlay_carries(self, address: str, low: int, high: int, *, timeout_s: float, port: int) -> int:
        """Like PathMtuProbes: one port is closed to small packets, and to large ones at this attempt.

        The host says nothing about the first `spent` small ones: other checks have had its errors.
        """
        assert low == high
        self.asked.append("large" if high == 1420 else f"small to {port}")
        if high != 1420:
            spent = self.asked.count(f"small to {port}") <= self.spent
            return high if port == self.closed_port and not spent else 0
        return high if self.asked.count("large") == self.refuses_at else 0


def measured(path: Path, *facts: Facts) -> Alone | None:
    overlay = OverlayState(
        product="wireguard",
        interface="wg0",
        up=True,
        mtu=1420,
        peers=(OverlayPeer("k", addresses=(ip_network("10.66.0.2/32"),)),),
    )
    net: Any = path
    alone: Alone | None = asyncio.run(measure(Context(Settings(), (B,), overlay, net, {"b": facts}), B))
    return alone


def test_a_port_that_was_called_closed_is_not_asked_for_again() -> None:
    """Protects the proof where other checks have spent what the host says in a second: it is waited for at the end."""
    path = Path(HOLE, closed_port=862, said=True, spent=2)
    alone = measured(path)
    assert alone is not None
    assert alone.forward_dead
    assert path.asked == ["echo", *["large"] * REFUSALS_TRIED, *[RESPONDER] * 3]


def test_a_responder_tells_it_better() -> None:
    """Protects a run with responders from more packets: not one echo is sent."""
    path = Path(HOLE, stamp=True, probes=True)
    assert measured(path) is None
    assert path.asked == []


def test_what_mtu_path_found_is_not_asked_again() -> None:
    """A responder that answered a search needs no probe more: the runner hands over what was found."""
    path = Path(HOLE, stamp=False, probes=False)
    assert measured(path, sample(MtuSearchFacts)) is None
    assert path.asked == []


def test_a_strange_reflector_is_no_responder() -> None:
    """Protects peers that speak STAMP and no path-MTU probes (or have another key): echoes decide there."""
    path = Path(WHOLE, stamp=True)
    alone = measured(path)
    assert alone is not None
    assert (alone.echo, alone.interface) == (WHOLE, "wg0")
    assert path.asked == ["echo"]


@pytest.mark.parametrize(
    ("closed", "refuses_at", "forward_bytes", "swallowed", "asked"),
    [
        (33434, 1, 1420, 0, [FIRST, "large"]),
        (33434, 3, 1420, 0, [FIRST, *["large"] * 3]),
        (33434, 0, 0, REFUSALS_TRIED, [FIRST, *["large"] * REFUSALS_TRIED, FIRST]),
        (862, 0, 0, REFUSALS_TRIED, [FIRST, RESPONDER, *["large"] * REFUSALS_TRIED, RESPONDER]),
        (0, 0, 0, 0, [FIRST, RESPONDER]),
    ],
)
def test_a_rate_limit_is_waited_for_and_silence_is_no_proof(
    closed: int, refuses_at: int, forward_bytes: int, swallowed: int, asked: list[str]
) -> None:
    """Protects the proof of the way there: a few tries, as hosts report closed ports once a second; then a small packet
    that is refused, or nothing is proven.
    """
    path = Path(HOLE, refuses_at=refuses_at, closed_port=closed)
    alone = measured(path)
    assert alone is not None
    assert (alone.forward_bytes, alone.swallowed) == (forward_bytes, swallowed)
    assert path.asked == ["echo", *asked]
