"""way.packet: verdicts become results with their place; peers in excess of what one run follows are named."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from preflight_checks.way_packet import MOST_PEERS, corrected, judge, way_packet

from preflight import codes
from preflight.api import CONTROL, Context, Direction, Observation, Peer, Result, Station, Status, look
from preflight.model.facts import DeathFacts, EchoFacts, NameFacts
from preflight.model.fix import PeerAddress
from preflight.net import Net
from preflight.proto.way.verdict import Verdict
from preflight.settings.load import Settings
from preflight.settings.schema import ControlSettings

PEER = Peer("10.66.0.2", "b")


def test_a_proven_death_fails_at_its_station() -> None:
    """The engine takes the place from the result."""
    place = Station("filter-out")
    verdict = Verdict(direction="forward", message="rule 7", code=codes.HOST_FIREWALL_DROP, station=place)
    result = judge(PEER, verdict)
    assert (result.status, result.direction, result.station) == (Status.FAIL, Direction.FORWARD, place)


def test_what_nobody_saw_drop_is_the_products_to_let_in() -> None:
    """A remedy of the place itself comes first; without one the product's own rules are named."""
    verdict = Verdict(direction="forward", message="between tunnel and socket", code=codes.UDP_BLOCKED)
    levers = look("grep -A 20 '^firewall:' /etc/nebula/config.yml")
    assert judge(PEER, verdict, levers).remedies == levers
    own = look("nft -a list ruleset")
    assert judge(PEER, replace(verdict, remedies=own), levers).remedies == own


def test_a_way_without_a_death_is_no_failure() -> None:
    """What was seen stays with the result, for the pictures."""
    seen = (Observation(station=Station("tunnel"), finding="seen"),)
    result = judge(PEER, Verdict(direction="reverse", message="last seen at tunnel", observations=seen))
    assert (result.status, result.code, result.observations) == (Status.SKIP, codes.RUN_NOT_APPLICABLE, seen)


@pytest.mark.parametrize("from_file", [True, False])
def test_a_wrong_address_is_corrected_in_the_file_that_has_it(from_file: bool) -> None:
    """Protects the fix: a peer that an option names is in no file."""
    settings = Settings(source=Path("/etc/preflight.yaml"), peers_from_file=from_file)
    context = cast("Context", SimpleNamespace(settings=settings))
    known = DeathFacts(address=PEER.address, answered_from="10.66.0.7")
    verdict = Verdict(direction="forward", message="wrong", code=codes.OVERLAY_ALLOWED_IPS, facts=known)
    (*fixes,) = corrected(context, PEER, verdict).remedies
    wanted = PeerAddress(file="/etc/preflight.yaml", before=PEER.address, address="10.66.0.7")
    assert [remedy.fix for remedy in fixes] == ([wanted] if from_file else [])
    other = replace(verdict, facts=replace(known, address="10.66.0.9"))
    assert corrected(context, PEER, other) == other


class Ways:
    """Replaces `ctx.net` and its ways: nothing is observed."""

    def __init__(self) -> None:
        self.ways, self.followed, self.others = self, list[str](), dict[str, tuple[str, ...]]()
        self.heard = dict[str, tuple[str, ...]]()

    async def follow(
        self, peer: Peer, *, large: bool, passes: str | None, others: Sequence[str], heard: Sequence[str]
    ) -> tuple[Observation, ...]:
        """Like PacketWays."""
        self.followed.append(peer.name)
        self.others[peer.name] = tuple(others)
        self.heard[peer.name] = tuple(heard)
        return (Observation(station=Station("route"), finding="clear"),)


def test_where_nothing_can_be_followed_that_is_said() -> None:
    """Without a tunnel there is nothing to see; a missing result would look like a fault of the program."""

    class Blind(Ways):
        async def follow(self, peer: Peer, **_: object) -> tuple[Observation, ...]:
            """Nothing is seen."""
            return ()

    async def collect() -> list[Result]:
        return [each async for each in way_packet.function(Context(Settings(), (PEER,), None, cast("Net", Blind())))]

    (result,) = asyncio.run(collect())
    assert (result.status, result.code, result.target) == (Status.SKIP, codes.RUN_NOT_APPLICABLE, "b")


def test_a_mesh_in_trouble_is_not_followed_whole() -> None:
    """Each burst costs time; the report says which peers were left out."""
    peers = tuple(Peer(f"10.66.0.{n}", f"p{n}") for n in range(2, 12))
    net = Ways()
    context = Context(Settings(), peers, None, cast("Net", net))

    async def run() -> list[Result]:
        return [result async for result in way_packet.function(context)]

    results = asyncio.run(run())
    assert net.followed == [peer.name for peer in peers[:MOST_PEERS]]
    assert {result.target for result in results} == {peer.name for peer in peers}
    assert all("--peer" in result.message for result in results if result.target not in net.followed)


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("http://10.66.0.9:9847", ("10.66.0.3", "10.66.0.9")),
        ("http://[fd66::9]:9847", ("10.66.0.3",)),
        ("http://10.66.0.2:9847", ("10.66.0.3",)),
        ("http://control.example:9847", ("10.66.0.3", "10.66.0.8")),
    ],
    ids=["address", "other-family", "on-the-peer", "name"],
)
def test_whose_addresses_are_known(url: str, known: tuple[str, ...]) -> None:
    """What the control plane's address belongs to is not this peer, unless both may be one machine."""
    net, peers = Ways(), (PEER, Peer("10.66.0.3", "c"))
    settings = Settings(control=ControlSettings(url=url))
    named = NameFacts(addresses=("10.66.0.8",), lookup_ms=1.0, resolvers_asked=1, resolvers_answering=1)
    context = Context(settings, peers, None, cast("Net", net), handed_over={CONTROL: (named,)})

    async def run() -> None:
        async for _ in way_packet.function(context):
            pass

    asyncio.run(run())
    assert net.others["b"] == known


def test_who_answers_is_known_of_peers_that_are_not_in_trouble() -> None:
    """Protects the sentence about a hub that does not forward: its own address answers, and only it shows that."""
    net, answers = Ways(), Peer("10.66.0.3", "c")
    echoed = EchoFacts(sent=4, received=4, rtt_min_ms=1.0, rtt_max_ms=1.0)
    context = Context(Settings(peers=(PEER, answers)), (PEER,), None, cast("Net", net), handed_over={"c": (echoed,)})

    async def run() -> None:
        async for _ in way_packet.function(context):
            pass

    asyncio.run(run())
    assert (net.followed, net.others["b"], net.heard["b"]) == (["b"], ("10.66.0.3",), ("10.66.0.3",))
