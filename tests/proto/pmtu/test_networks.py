"""Both path-MTU searches on hundreds of bad networks: the exact byte or an honest "undecided", never a wrong size."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from preflight.model.pmtu import OneWay, SearchOutcome
from preflight.proto.pmtu.budget import Budget
from preflight.proto.pmtu.fast import PathMtuSearch
from preflight.proto.pmtu.strict import StrictPathMtuSearch
from preflight.proto.pmtu.wire import MAGIC, SMALLEST
from tests.proto.pmtu.conftest import BOTH, DIRECTIONS, TOKEN, Link, Network, network, up_to, wireguard

Kind = type[PathMtuSearch | StrictPathMtuSearch]
SEARCHES = pytest.mark.parametrize("kind", [PathMtuSearch, StrictPathMtuSearch], ids=["fast", "strict"])
FAMILIES = (("10.66.0.2", "10.66.0.1"), ("fd66::2", "fd66::1"))


def bad_network(seed: int, kind: Kind, direction: OneWay, mtu: int, **more: Any) -> tuple[str, int | None]:
    """How a search ends on a network whose two ways are both bad, in ways that the seed chooses."""
    rng = random.Random(seed)
    delay = rng.choice((0.0004, 0.02, 0.08, 0.15))
    bad: dict[str, Any] = {
        "delay": delay,
        "loss": rng.choice((0.0, 0.02, 0.05)),
        "jitter": rng.choice((0.0, 0.3, 1.0)) * delay,
        "duplicates": rng.choice((0.0, 0.05)),
    }
    address, node = FAMILIES[seed % 2]
    measured = Link(up_to(mtu), tells=rng.choice((None, mtu)), tells_every=rng.choice((1, 3)), **bad)
    other = Link(up_to(65535), **bad)
    ways = (measured, other) if direction == "forward" else (other, measured)
    net = Network(*ways, seed=seed, address=address, node=node, **more)
    found = net.search(direction, kind)
    return found.outcome, found.mtu_bytes


@SEARCHES
@pytest.mark.parametrize("part", range(4))
def test_loss_reordering_duplication_and_delay_on_both_ways(kind: Kind, part: int) -> None:
    """Protects the promise: 2 and 5 % loss, reordering, duplicates, up to 300 ms, IPv4 and IPv6, ICMP or none."""
    undecided = 0
    for seed in range(part, 400, 4):
        mtu = random.Random(~seed).randrange(1230, 1421)
        outcome, found = bad_network(seed, kind, DIRECTIONS[seed // 2 % 2], mtu)
        undecided += outcome == SearchOutcome.UNDECIDED
        assert outcome == SearchOutcome.UNDECIDED or (outcome, found) == (SearchOutcome.MEASURED, mtu), (seed, mtu)
    assert undecided <= 2


def forged(quoted: bytes, *claims: int) -> Callable[[random.Random], tuple[bytes, int]]:
    """Errors that all quote the same and claim one of these sizes."""
    return lambda rng: (quoted + rng.randrange(40).to_bytes(4), rng.choice(claims))


FORGERS = {
    "without-token": forged(MAGIC + b"off-path", 68, 576, 1300),
    "nothing-quoted": lambda rng: (b"", 576),
    "absurd": forged(MAGIC + TOKEN, 0, 1, 67, 143, 65535, 1 << 31),
    "too-small": forged(MAGIC + TOKEN, SMALLEST, 296, 576, 1000),
    "too-large": forged(MAGIC + TOKEN, 1419, 1420, 1421, 9000),
    "any": forged(MAGIC + TOKEN, *range(SMALLEST, 1500)),
}


@SEARCHES
@BOTH
@pytest.mark.parametrize("forger", FORGERS)
def test_forged_icmp_errors_never_change_the_size(kind: Kind, direction: OneWay, forger: str) -> None:
    """Protects RFC 8899 section 4.6: errors by an attacker, even one that knows the token, never set the value."""
    for seed in range(12):
        mtu = (1420, 1312, 1399)[seed % 3]
        assert bad_network(seed, kind, direction, mtu, forger=FORGERS[forger]) == (SearchOutcome.MEASURED, mtu), seed


@SEARCHES
@BOTH
@pytest.mark.parametrize("loss", [0.3, 0.6, 0.9])
def test_heavy_loss_never_makes_a_finding(kind: Kind, direction: OneWay, loss: float) -> None:
    """Protects against the worst answer: a path that carries everything, with heavy loss, is not a black hole."""
    for seed in range(60):
        bad = Link(up_to(1420), loss=loss)
        ways = (bad, Link(up_to(65535))) if direction == "forward" else (Link(up_to(65535)), bad)
        found = Network(*ways, seed=seed).search(direction, kind)
        assert not found.black_hole, (seed, found)
        assert not found.fragmented_outside, (seed, found)


@SEARCHES
@BOTH
def test_a_tunnel_that_fragments_on_a_lossy_way(kind: Kind, direction: OneWay) -> None:
    """Protects the count of fragments, which neither losses nor duplicates may shift."""
    for seed in range(30):
        tunnel = Link(wireguard(1380, 1420, fragments=True), loss=0.02, duplicates=0.05, jitter=0.01)
        other = Link(up_to(65535), loss=0.02)
        ways = (tunnel, other) if direction == "forward" else (other, tunnel)
        found = Network(*ways, seed=seed).search(direction, kind)
        assert found.outcome is SearchOutcome.UNDECIDED or (found.mtu_bytes, found.black_hole) == (1312, False), seed


@BOTH
@pytest.mark.parametrize("kbit", [100, 200, 1000, 5000])
@pytest.mark.parametrize("room", [3000, 6600, 25_000])
def test_a_slow_link_is_not_filled(direction: OneWay, kbit: int, room: int) -> None:
    """A search must not lose its own packets in a queue: the exact size, behind deep queues and shallow ones."""
    for mtu in (1201, 1312, 1420):
        slow = Link(up_to(mtu), delay=0.01, s_per_byte=8 / (kbit * 1000), room=room)
        found = network(direction, slow).search(direction)
        assert (found.outcome, found.mtu_bytes) == (SearchOutcome.MEASURED, mtu)
        assert slow.overflowed <= 6
        assert found.duration_s <= 10


@BOTH
def test_searches_that_share_a_slow_link_share_its_pace(direction: OneWay) -> None:
    """What the first has seen holds for the others: they begin gently."""
    budget, slow = Budget(), Link(up_to(1312), delay=0.01, s_per_byte=8 / 200_000)
    for number in range(3):
        net = network(direction, slow, seed=number)
        exchange = net.exchange(direction)
        exchange.budget = budget
        found = net.drive(PathMtuSearch(exchange))
        assert found.mtu_bytes == 1312
        assert budget.limited
        if number:
            assert slow.overflowed == 0
        slow.busy_until, slow.overflowed = 0.0, 0
