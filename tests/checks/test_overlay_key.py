"""Two machines with one key."""

import asyncio
import time
from collections.abc import Collection, Sequence
from ipaddress import ip_network
from itertools import chain, count, cycle, repeat
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from preflight_checks import overlay_key

from preflight.api import Context, Direction, Facts, Peer, Result
from preflight.model.facts import AnswerFacts, LossFacts
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.path import AskResult, PeerReport, StampStats
from preflight.model.tapped import TapPacket, Tapped
from preflight.net import Net
from preflight.proto.tunnel.endpoint_turns import Seen, Turns, Watched
from preflight.settings.load import Settings
from tests.proto.tunnel.test_sessions_seen import packet
from tests.sample_facts import sample

B, OTHER = "192.0.2.2:51820", "192.0.2.9:51820"
NB = Peer("10.66.0.2", "b")


def tunnel(endpoint: str, handshake: float | None = None, rx: int = 92) -> OverlayState:
    """A tunnel whose peer is at an endpoint."""
    owned = (ip_network("10.66.0.2/32"),)
    shook = time.time() - 20 if handshake is None else handshake
    known = OverlayPeer("Bkey=", endpoint, owned, last_handshake_unix_s=shook, rx_bytes=rx)
    return OverlayState("wireguard", "wg0", up=True, mtu=1420, peers=(known,), public_key="Akey=")


@pytest.mark.parametrize(
    ("endpoints", "grows", "reads", "found"),
    [
        ([B, OTHER, B, OTHER], True, 3, True),
        ([B, B, OTHER, B, OTHER], True, 4, True),
        # It moved once, before or while it is watched.
        ([B, OTHER, OTHER, OTHER], True, None, False),
        ([B, B, B, B], True, None, False),
        # Nothing comes from the key at all: one look is enough.
        ([B, B, B, B], False, 1, False),
    ],
)
def test_an_endpoint_is_watched(
    endpoints: list[str], grows: bool, reads: int | None, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as soon as two machines show, and a peer that moved once is not such."""
    monkeypatch.setattr(overlay_key, "EACH_S", 0.0)
    monkeypatch.setattr(overlay_key, "SHORT_S", 0.05)
    monkeypatch.setattr(overlay_key, "LONG_S", 0.1)
    asked = 0

    async def read() -> OverlayState:
        nonlocal asked
        asked += 1
        return tunnel(endpoints[min(asked, len(endpoints) - 1)], rx=92 + 32 * grows * asked)

    results = asyncio.run(_run(tunnel(endpoints[0]), read))
    assert [each.code is not None and each.code.slug == "overlay.duplicate-key" for each in results] == [found]
    assert reads is None or asked == reads


def test_a_tunnel_that_never_came_up_is_not_watched() -> None:
    """Nothing moves an endpoint there, so the run loses no time."""

    async def read() -> OverlayState:
        raise AssertionError("it was read")

    (result,) = asyncio.run(_run(tunnel(B, handshake=0.0), read))
    assert str(result.code) == "run.not-applicable"


class FakeTap:
    """A tap that sees these packets; without any it is blind."""

    def __init__(self, packets: Sequence[TapPacket] = ()) -> None:
        self.packets, self.blind = packets, not packets

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    def taken(self) -> Tapped:
        """All of them."""
        return Tapped(packets=tuple(self.packets))


async def _run(
    first: OverlayState,
    read: Any,
    tap: FakeTap | None = None,
    earlier: Watched | None = None,
    measured: Sequence[Facts] = (),
    asked: AskResult | None = None,
    whole: bool = False,
    dying_here: Collection[str] = (),
    silence: StampStats | None = None,
    for_another: int = 0,
) -> list[Result]:
    async def echo(*_: Any, **__: Any) -> None:
        """It leaves, and the tap has seen the answer already."""

    icmp = SimpleNamespace(provoke_handshake=lambda *_: None, echo=echo)

    async def messages(_: Peer) -> int:
        return for_another

    endpoints, sessions = SimpleNamespace(take=lambda _: earlier), SimpleNamespace(for_another=messages)
    watch = SimpleNamespace(endpoints=endpoints, sessions=sessions, tap=lambda *_: tap or FakeTap())
    ways = SimpleNamespace(dying_here=dying_here)
    came = SimpleNamespace(came=lambda _: whole)
    path = SimpleNamespace(asked=lambda _: asked, whole=came, proven_silent=lambda _: silence)
    net = SimpleNamespace(icmp=icmp, overlay=read, ways=ways, watch=watch, path=path)
    context = Context(Settings(), (NB,), first, cast("Net", net), {NB.target: tuple(measured)})
    return [result async for result in overlay_key.overlay_key.function(context)]


@pytest.mark.parametrize(("closed", "looks"), [(True, False), (False, True)])
def test_a_host_without_a_responder_sends_no_hellos(closed: bool, looks: bool) -> None:
    """Who has been watched for two seconds by now is not watched for longer, unless a hello may still come."""
    reads: list[bool] = []

    async def read() -> OverlayState:
        reads.append(True)
        return tunnel(B)

    earlier = Watched(time.monotonic() - overlay_key.NO_HELLO_S, [Seen(B)])
    silence = StampStats(sent=10, answered=0, port_unreachable=closed)
    asyncio.run(_run(tunnel(B), read, FakeTap(), earlier, whole=True, silence=silence))
    assert bool(reads) is looks


async def unread() -> OverlayState:
    """A tunnel that nobody has to look at again."""
    raise AssertionError("it was read")


@pytest.mark.parametrize(("places", "found"), [((OTHER, B, OTHER), True), ((B, B, B), False)])
def test_what_was_seen_before_counts(places: Sequence[str], found: bool) -> None:
    """Nobody waits for what was seen while other checks measured."""
    earlier = Watched(time.monotonic() - overlay_key.SHORT_S, [Seen(place) for place in places])
    (result,) = asyncio.run(_run(tunnel(B), unread, earlier=earlier))
    assert (str(result.code) == "overlay.duplicate-key") == found


@pytest.mark.parametrize(("probes", "whole", "looked_at"), [(10, False, False), (9, False, True), (9, True, False)])
def test_who_got_all_that_was_sent_has_its_key_for_itself(probes: int, whole: bool, looked_at: bool) -> None:
    """Another machine with this node's key would have taken what the peer sent."""
    earlier = Watched(time.monotonic() - overlay_key.SHORT_S, [Seen(B)])
    asked = AskResult(sent=10, answered=0, probes_received=probes, report=PeerReport(received=0, sent=10))
    reads = 0

    async def read() -> OverlayState:
        nonlocal reads
        reads += 1
        return tunnel(B)

    asyncio.run(_run(tunnel(B), read, FakeTap([packet(0, "data", session=1)]), earlier, asked=asked, whole=whole))
    assert (reads > 0) == looked_at


def lossy(received: int) -> LossFacts:
    """A direction of 200 packets."""
    return sample(LossFacts, sent=200, received=received)


@pytest.mark.parametrize(
    ("measured", "looked_at"),
    [
        ((lossy(200), lossy(200)), False),
        ((lossy(200), lossy(190)), True),
        ((lossy(200), lossy(200), AnswerFacts(sent=220, answered=200, undirected=20)), True),
        ((), True),
    ],
)
def test_a_peer_that_lost_nothing_is_at_one_place(measured: Sequence[Facts], looked_at: bool) -> None:
    """What is wrong with its delays is not the work of another machine, which would have taken its packets."""
    asked = 0

    async def read() -> OverlayState:
        nonlocal asked
        asked += 1
        return tunnel(B)

    (result,) = asyncio.run(_run(tunnel(B), read, measured=measured))
    assert (asked > 0) == looked_at
    assert ("every packet of the longest measurement to b and from it arrived" in result.message) == (not looked_at)


def test_one_machine_with_two_ways_is_not_two() -> None:
    """Its packets have one session, from wherever they come."""
    tap = FakeTap([packet(1, "data", B, session=7), packet(2, "data", OTHER, session=7)])
    places = cycle((OTHER, B))

    async def read() -> OverlayState:
        return tunnel(next(places))

    (result,) = asyncio.run(_run(tunnel(B), read, tap))
    assert str(result.code) == "run.not-applicable"


def test_another_machine_with_this_node_s_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer sends for a session that this node does not have, until this node makes another one."""
    monkeypatch.setattr(overlay_key, "STRANGE_S", overlay_key.EACH_S / 2)
    now_s, received = int(time.time()), chain((92, 92), repeat(500))
    strange = [packet(now_s + 1000, "data", session=99)] * 2
    own = [packet(now_s + 2000, "initiation", session=7, out=True), packet(now_s + 3000, "data", session=7)]
    clock = chain((now_s, now_s + 1500), count(now_s + 4000))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock) * 10**9)

    async def read() -> OverlayState:
        return tunnel(B, rx=next(received))

    (result,) = asyncio.run(_run(tunnel(B), read, FakeTap([*strange, *own])))
    assert result.code is not None
    assert (result.code.slug, result.direction) == ("overlay.duplicate-key", Direction.REVERSE)
    assert "another machine uses this node's key (Akey=)" in result.message


def test_what_dies_on_this_node_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its own firewall is known to drop what comes in, nobody looks for a machine that takes it."""
    monkeypatch.setattr(overlay_key, "STRANGE_S", overlay_key.EACH_S / 2)
    now_s = int(time.time())
    strange = [packet(now_s + 1000, "data", session=99)] * 2
    monkeypatch.setattr(overlay_key, "OWN_S", 1e6)

    async def read() -> OverlayState:
        return tunnel(B, rx=500)

    (result,) = asyncio.run(_run(tunnel(B), read, FakeTap(strange), dying_here={NB.address}))
    assert str(result.code) == "run.not-applicable"


def test_the_sentence_has_both_places() -> None:
    """And the key, for which the owner can look on both machines."""
    known = tunnel(B).peers[0]
    result = overlay_key.judge(NB, known, "wireguard", Turns((B, OTHER), 3))
    assert result.message == (
        f"wireguard sees the key of b (Bkey=) at {B} and at {OTHER} in turn, with 3 changes in this run: two machines "
        "use it"
    )
    assert "192.0.2.2 and on 192.0.2.9" in (result.remedy or "")
    tailnet = overlay_key.judge(NB, known, "tailscale", Turns((B, OTHER), 3))
    assert "tailscale logout" in (tailnet.remedy or "")
    nebula = overlay_key.judge(NB, known, "nebula", Turns((B, OTHER), 2))
    assert "nebula sees the certificate of b" in nebula.message
    assert "nebula-cert print" in (nebula.remedy or "")


def test_the_sentence_about_this_node_s_certificate() -> None:
    """How many sessions there were, where, and both of the reasons that there may be."""
    result = overlay_key.judge(NB, tunnel(B).peers[0], "nebula", Turns(("192.0.2.2:4242", "192.0.2.2:4242"), 4))
    assert "nebula made 5 sessions with b at 192.0.2.2:4242 in this run" in result.message
    assert "another machine uses this node's certificate" in result.message
    assert [each.where for each in result.remedies] == ["node", "peer"]


def test_a_peer_that_answers_now_may_have_answered_another_machine_before() -> None:
    """All packets of the measurement came: what was sent to the copy of this node came before."""
    measured = [lossy(200), sample(LossFacts, sent=200, received=200)]
    (result,) = asyncio.run(_run(tunnel(B), unread, measured=measured, for_another=31))
    assert (str(result.code), result.direction) == ("overlay.duplicate-key", Direction.REVERSE)
    assert result.message.startswith("31 packets of b came here from 192.0.2.2:51820 for a session that this node does")
    (result,) = asyncio.run(_run(tunnel(B), unread, measured=measured))
    assert str(result.code) == "run.not-applicable"
