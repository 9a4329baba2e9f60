"""mtu.path: tables from what a search found to the verdict. Real searches: tests/net/pmtu/test_search.py."""

import asyncio
from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from preflight_checks.mtu_path import Carried, Trail, explain, judge

from preflight.api import Context, Direction, Peer, Result, Status, codes
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.model.pmtu_hops import HopFate, Vanishing
from preflight.proto.pmtu.advice import Tunnel
from preflight.proto.pmtu.wire import LARGEST
from preflight.settings.load import Settings
from tests.kernel_says import by_the_tunnel

B = Peer("10.66.0.2", "b")
WHOLE = PathMtu(direction="forward", outcome=SearchOutcome.MEASURED, ceiling_bytes=1420, mtu_bytes=1420, passed=(1420,))
HOLE = replace(WHOLE, mtu_bytes=1312, passed=(1312,), vanished=(1313, 1420))
SPLIT = replace(WHOLE, mtu_bytes=1312, passed=(1312,), fragmented=(1313, 1420))
SIGNALLED = replace(WHOLE, mtu_bytes=1380, vanished=(1381,), signalled=True, icmp_from=("10.66.0.9",))
OVERLAY: dict[str, Any] = {
    "interface": "wg0",
    "product": "wireguard",
    "tunnel": Tunnel(1420, 60, 16),
    "endpoint": "198.51.100.2",
}


def verdict(found: PathMtu, *, minimum_mtu: int = 1280, **known: Any) -> Result:
    result: Result = judge(Carried(B, **{**OVERLAY, **known}), found, minimum_mtu)
    return result


def test_full_size_packets_pass() -> None:
    """Protects the good case: a pass for each direction that names the size and whose MTU it is."""
    forward = verdict(WHOLE)
    assert (forward.status, forward.direction) == (Status.PASS, Direction.FORWARD)
    assert forward.message == "1420-byte packets to b arrive whole, and wg0 has MTU 1420"
    reverse = verdict(replace(WHOLE, direction="reverse"))
    assert reverse.direction is Direction.REVERSE
    assert reverse.message == "1420-byte packets from b arrive whole, and b's interface has MTU 1420"


def test_a_pass_claims_no_more_than_was_measured() -> None:
    """Protects honesty: the bound of the search, and a useless count of fragments, are reported."""
    assert verdict(replace(WHOLE, ceiling_bytes=LARGEST, mtu_bytes=LARGEST)).message.endswith(
        "the largest size that is tried"
    )
    assert "whole or in fragments" in verdict(replace(WHOLE, miscounted=True)).message


def test_black_hole() -> None:
    """Protects the main finding: the size that passes, the direction, and on which node to set which MTU."""
    forward = verdict(HOLE)
    assert (forward.status, forward.code, forward.direction) == (Status.FAIL, codes.MTU_BLACK_HOLE, Direction.FORWARD)
    assert forward.message == "packets over 1312 bytes to b vanish without an ICMP error, but wg0 has MTU 1420"
    assert forward.remedy == "ip link set dev wg0 mtu 1312   # to persist: MTU = 1312 under [Interface]"
    reverse = verdict(replace(HOLE, direction="reverse"))
    assert (reverse.code, reverse.direction) == (codes.MTU_BLACK_HOLE, Direction.REVERSE)
    assert reverse.remedy == (
        "ip link set dev $(ip -o address show to 10.66.0.2 | awk '{print $2; exit}') mtu 1312   # on b; "
        "to persist: MTU = 1312 under [Interface]\n"
        "ip link set dev wg0 mtu 1312   # to persist: MTU = 1312 under [Interface]"
    ), "both ends of a tunnel should have one MTU"


@pytest.mark.parametrize(("underlay", "mtu"), [(1380, 1320), (1375, 1315), (1500, 1312), (0, 1312)])
def test_the_advice_is_the_mtu_to_set(underlay: int, mtu: int) -> None:
    """Protects the remedy: 1312 passes while the MTU is 1420, but over an underlay of 1380 the MTU to set is 1320."""
    for found in (HOLE, SPLIT):
        remedy = verdict(found, underlay_mtu=underlay).remedy
        assert remedy is not None
        assert f"mtu {mtu} " in remedy


def test_reduced_by_fragments() -> None:
    """Protects a tunnel that fragments outside from passing as healthy, and from being called a black hole."""
    result = verdict(SPLIT, underlay_mtu=1380)
    assert (result.status, result.code) == (Status.WARN, codes.MTU_REDUCED)
    assert result.message == (
        "packets over 1312 bytes to b arrive only because the tunnel sends them in fragments "
        "(the underlay to 198.51.100.2 carries 1380), but wg0 has MTU 1420"
    )


def test_fragments_that_openvpn_counts_on() -> None:
    """Its default of 1500 bytes never fits one packet: nothing is said of it, unless a part of them vanishes."""
    split = replace(SPLIT, ceiling_bytes=1500, fragmented=(1313, 1500))
    assert verdict(split, product="openvpn").status is Status.PASS
    assert verdict(split, product="wireguard").status is Status.WARN
    assert verdict(SPLIT, product="openvpn").status is Status.WARN
    assert verdict(replace(split, fragmented=(1313,), vanished=(1500,)), product="openvpn").status is Status.WARN


def test_reduced_and_signalled() -> None:
    """Protects the difference that matters at night: an ICMP error informs the sender, so nothing hangs."""
    result = verdict(SIGNALLED)
    assert (result.status, result.code) == (Status.WARN, codes.MTU_REDUCED)
    assert "an ICMP error from 10.66.0.9 reports that to the sender" in result.message
    assert result.remedy is not None
    assert "mtu 1380 " in result.remedy


def test_below_the_minimum() -> None:
    """Protects overlays that need 1280: signalled or not it is a failure, and no tunnel setting is advised."""
    short = verdict(replace(SPLIT, mtu_bytes=1200, fragmented=(1201,)), underlay_mtu=1260)
    assert (short.status, short.code) == (Status.FAIL, codes.MTU_BELOW_MINIMUM)
    assert short.message.endswith("; the overlay must carry 1280")
    assert short.remedy == (
        "Make the path under the tunnel carry 1340 bytes: an MTU of 1200 is less than the overlay's 1280."
    )
    whole = verdict(replace(SPLIT, mtu_bytes=1264, fragmented=(1265, 1420)), underlay_mtu=1336)
    assert (whole.status, whole.code) == (Status.WARN, codes.MTU_REDUCED)  # all sizes arrive, the largest in fragments
    assert whole.remedy is not None
    assert whole.remedy.startswith("Make the path under the tunnel carry 1340 bytes")
    hole = verdict(replace(HOLE, mtu_bytes=1200))
    assert hole.code is codes.MTU_BLACK_HOLE
    assert hole.message.endswith("; the overlay must carry 1280")
    small = verdict(replace(WHOLE, ceiling_bytes=1200, mtu_bytes=1200))
    assert small.code is codes.MTU_BELOW_MINIMUM
    assert small.remedy == "ip link set dev wg0 mtu 1280   # to persist: MTU = 1280 under [Interface]"


def test_off_the_overlay() -> None:
    """Protects peers that no tunnel leads to: a size, but no command for an interface that is not known."""
    result = verdict(HOLE, interface=None, product=None, tunnel=None, endpoint=None)
    assert result.code is codes.MTU_BLACK_HOLE
    assert result.remedy == "Set the MTU of the interface that leads to 10.66.0.2 to 1312."


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (SearchOutcome.NO_ANSWER, "b does not answer path-MTU probes on UDP port 862"),
        (SearchOutcome.REFUSED, "nothing listens on UDP port 862 of b"),
    ],
)
def test_without_responder(outcome: SearchOutcome, said: str) -> None:
    """Protects against guesses: nobody to answer means inconclusive, with what would decide it."""
    result = verdict(PathMtu(direction="reverse", outcome=outcome, ceiling_bytes=1420))
    assert (result.status, result.code) == (Status.INCONCLUSIVE, codes.RUN_NEEDS_RESPONDER)
    assert result.direction is Direction.REVERSE
    assert result.message.startswith(said)
    assert result.remedy == "preflight responder --bind 10.66.0.2   # on b"


def test_too_much_loss() -> None:
    """Protects a lossy path from an MTU finding."""
    result = verdict(replace(HOLE, outcome=SearchOutcome.UNDECIDED))
    assert (result.status, result.code) == (Status.INCONCLUSIVE, codes.RUN_TIMEOUT)
    assert "1312 bytes pass, 1420 is the interface's MTU" in result.message


def test_measurements_and_evidence() -> None:
    """Protects what dashboards read: numbers with units, and the sizes behind the verdict."""
    result = verdict(replace(HOLE, probes_sent=29, rounds=5, rtt_s=0.0015, duration_s=0.025))
    assert result.measurements == {
        "mtu_bytes": 1312,
        "interface_mtu_bytes": 1420,
        "signalled": False,
        "probes": 29,
        "rounds": 5,
        "rtt_ms": 1.5,
        "search_ms": 25.0,
        "recovered": 0,
    }
    assert result.evidence[0].data["vanished"] == [1313, 1420]


ROUTER = HopFate(1, ("10.201.1.1",), asked=1, small_answers=1, large_answers=1)
STARVED = HopFate(1, ("10.201.1.1",), asked=6, small_answers=5)


def test_the_place_is_named_only_beyond_doubt() -> None:
    """Protects the words about where packets vanish: inside, on the underlay, before the first hop, or not at all."""
    behind = Trail("198.51.100.2", Vanishing(1372, 1388, (ROUTER,), 2), outside=True)
    result = verdict(HOLE, trail=behind)
    assert "b vanish behind 10.201.1.1 on the underlay without an ICMP error" in result.message
    assert result.evidence[1].data == [
        {"ttl": 1, "address": "10.201.1.1", "large_sent": 1, "large_answered": 1, "small_answered": 1}
    ]
    inside = verdict(HOLE, trail=Trail(B.address, Vanishing(1312, 1313, (ROUTER,), 2)))
    assert "b vanish behind 10.201.1.1 without" in inside.message
    before = verdict(HOLE, trail=Trail(B.address, Vanishing(1312, 1313, (STARVED,), 2)))
    assert "b vanish before the first hop, 10.201.1.1, without" in before.message
    unknown = verdict(HOLE, trail=Trail(B.address, Vanishing(1312, 1313, (ROUTER,))))
    assert "b vanish without an ICMP error" in unknown.message
    assert unknown.evidence[1].summary.endswith("it is not known where they vanish: hop 2 does not answer")


def test_the_other_direction_has_no_place() -> None:
    """Protects the reverse direction: from here nobody can ask the hops of the peer's way."""
    result = verdict(replace(HOLE, direction="reverse"), trail=Trail(B.address, Vanishing(1312, 1313, (ROUTER,), 2)))
    assert "vanish without" in result.message
    assert len(result.evidence) == 1


class Underlay:
    """Replaces `ctx.net.pmtu`: an underlay that is known to carry this much, and how often it was asked."""

    def __init__(self, reported_mtu: int = 0, answers_to: int = 0) -> None:
        self.reported_mtu, self.answers_to = reported_mtu, answers_to
        self.asked = 0
        self.traced: list[tuple[str, int, int]] = []

    async def vanishing(self, address: str, *, small: int, large: int, patience_s: float) -> Vanishing:
        """As PathMtuProbes."""
        self.traced.append((address, small, large))
        return Vanishing(small, large, (ROUTER,), 2)

    def path_mtu(self, address: str, *, mark: int = 0) -> int:
        """As PathMtuProbes."""
        return self.reported_mtu

    async def underlay_carries(self, address: str, low: int, high: int, *, timeout_s: float) -> int:
        """As PathMtuProbes."""
        self.asked += 1
        assert (address, low, high) == ("198.51.100.2", 1372, 1388)
        return min(self.answers_to, high)


def explained(underlay: Underlay, found: PathMtu, *addresses: str, fwmark: int = 0) -> Carried:
    """What is known of the way to b, whose tunnel's other end owns these addresses."""
    owner = OverlayPeer(
        "key", "198.51.100.2:51820", tuple(map(ip_network, addresses or ("10.66.0.2/32", "fd66::2/128")))
    )
    overlay = OverlayState(
        product="wireguard",
        interface="wg0",
        up=True,
        mtu=1420,
        prefixes=(ip_network("10.66.0.0/24"),),
        peers=(owner,),
        overhead_bytes=60,
        fwmark=fwmark,
    )
    net: Any = SimpleNamespace(pmtu=underlay, with_routes=by_the_tunnel)
    context = Context(settings=Settings(), peers=(B,), overlay=overlay, net=net)
    both = (found, replace(WHOLE, direction="reverse"))
    carried: Carried = asyncio.run(explain(context, B, both, {}))
    return carried


def test_the_kernel_tells_about_the_underlay() -> None:
    """Protects the advice where the tunnel fragments: the kernel's path MTU to the endpoint."""
    carried = explained(Underlay(reported_mtu=1380), SPLIT)
    assert (carried.tunnel, carried.endpoint, carried.underlay_mtu) == (Tunnel(1420, 60, 16), "198.51.100.2", 1380)


def test_a_black_hole_is_measured_below_the_tunnel() -> None:
    """Protects the advice where no ICMP error comes: what the endpoint's host answers to is proven to get there."""
    underlay = Underlay(reported_mtu=1500, answers_to=1380)
    carried = explained(underlay, HOLE)
    assert carried.underlay_mtu == 1380
    assert carried.trail == Trail("198.51.100.2", Vanishing(1372, 1388, (ROUTER,), 2), outside=True)
    assert underlay.traced == [("198.51.100.2", 1372, 1388)]


@pytest.mark.parametrize("addresses", [("10.66.0.0/24",), ("10.66.0.2/32", "10.66.0.3/32")])
def test_a_hub_proves_nothing_about_the_way_behind_it(addresses: tuple[str, ...]) -> None:
    """Protects hub and spoke: where the way to the hub carries more, the limit is behind it."""
    carried = explained(Underlay(reported_mtu=1500, answers_to=1500), HOLE, *addresses)
    assert carried.underlay_mtu == 0
    assert carried.trail == Trail(B.address, Vanishing(1312, 1313, (ROUTER,), 2))


def test_a_hub_with_the_limit_before_it() -> None:
    """Protects the place: plain packets to the hub vanish at just the size at which those in the tunnel do."""
    carried = explained(Underlay(answers_to=1380), HOLE, "10.66.0.0/24")
    assert carried.underlay_mtu == 1380
    assert carried.trail is not None
    assert carried.trail.outside


def test_the_ends_of_a_tunnel_should_have_one_mtu() -> None:
    """Protects the peer whose interface promises less than the path is proven to carry the other way round."""
    smaller = replace(WHOLE, direction="reverse", ceiling_bytes=1300, mtu_bytes=1300, passed=(1300,))
    result = judge(Carried(B, "wg0"), smaller, 1280, proven=1420)
    assert (result.code, result.direction.value) == (codes.MTU_REDUCED, "reverse")
    assert "b's interface has MTU 1300" in result.message
    assert [remedy.lines for remedy in result.remedies] == [("ip link set dev wg0 mtu 1300",)]
    assert judge(Carried(B, "wg0"), smaller, 1280, proven=1300).code is None
    assert judge(Carried(B, "wg0"), smaller, 1280, proven=(smaller.ceiling_bytes or 0) + 20).code is None


def test_an_underlay_that_carries_more_is_not_the_limit() -> None:
    """Protects the advice: if plain packets of the size that vanishes do arrive, something else is the limit."""
    assert explained(Underlay(reported_mtu=1500, answers_to=1500), HOLE).underlay_mtu == 0


def test_a_marked_tunnel_is_not_probed_below() -> None:
    """Protects policy routing: without the tunnel's mark a plain packet would take another way."""
    underlay = Underlay(reported_mtu=1500, answers_to=1380)
    assert explained(underlay, HOLE, fwmark=51820).underlay_mtu == 0
    assert underlay.asked == 0


def test_a_good_path_costs_no_further_packet() -> None:
    """Protects healthy tunnels from being probed below."""
    underlay = Underlay(reported_mtu=1500, answers_to=1500)
    assert explained(underlay, WHOLE).underlay_mtu == 0
    assert (underlay.asked, underlay.traced) == (0, [])
