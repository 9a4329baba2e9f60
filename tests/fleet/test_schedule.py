"""Who measures whom: every pair once, and nobody twice at a time."""

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.fleet.schedule import Pair, Pairs, make_rounds

NODES = st.integers(2, 40).map(lambda count: [f"node-{number}" for number in range(count)])
SITE = st.sampled_from(["berlin", "oslo", "rome", None])


@given(NODES, st.data())
def test_each_pair_is_measured_once_and_nobody_twice_a_round(nodes: list[str], data: st.DataObject) -> None:
    """Protects the two properties that the schedule exists for, with sites' uplinks and without."""
    where = data.draw(st.lists(SITE, min_size=len(nodes), max_size=len(nodes)))
    sites = {node: site for node, site in zip(nodes, where, strict=True) if site}
    rounds = make_rounds(nodes, Pairs(), sites)
    assert Counter(frozenset(pair) for row in rounds for pair in row) == Counter(map(frozenset, combinations(nodes, 2)))
    for row in rounds:
        assert max(Counter(node for pair in row for node in pair).values()) == 1
        crossing = [pair for pair in row if sites.get(pair[0]) != sites.get(pair[1])]
        uplinks = Counter(sites[node] for pair in crossing for node in pair if node in sites)
        assert not uplinks or max(uplinks.values()) == 1


@given(NODES)
def test_without_sites_there_is_no_round_too_many(nodes: list[str]) -> None:
    """Protects the time that a run takes: a tournament of n has n - 1 rounds, or n if n is odd."""
    assert len(make_rounds(nodes, Pairs(), {})) == len(nodes) - 1 + len(nodes) % 2


@given(NODES)
def test_the_work_is_shared(nodes: list[str]) -> None:
    """Protects single nodes from measuring all of their pairs: each starts half of them, or one more or less."""
    started = Counter(pair.initiator for row in make_rounds(nodes, Pairs(), {}) for pair in row)
    assert all(abs(started[node] - (len(nodes) - 1) / 2) <= 1 for node in nodes)


@given(NODES, st.integers(1, 50), st.integers())
def test_a_sample_is_whole_rounds(nodes: list[str], count: int, seed: int) -> None:
    """Protects `sample:K`: K rounds of the same tournament, the same ones for the same seed."""
    whole = set(make_rounds(nodes, Pairs(), {}))
    taken = make_rounds(nodes, Pairs(sample=count), {}, seed)
    assert set(taken) <= whole
    assert len(taken) == min(count, len(whole))
    assert taken == make_rounds(nodes, Pairs(sample=count), {}, seed)


def test_one_node_measures_all_others() -> None:
    """Protects `from:NODE`: that node starts each of its pairs, one at a time."""
    rounds = make_rounds(["a", "b", "c", "d"], Pairs(node="c"), {})
    assert all(len(row) == 1 for row in rounds)
    assert {pair for row in rounds for pair in row} == {Pair("c", "a"), Pair("c", "b"), Pair("c", "d")}
    with pytest.raises(ValueError, match="no node 'x'"):
        make_rounds(["a", "b"], Pairs(node="x"), {})


def test_some_pairs_again() -> None:
    """Protects the second look: the pairs that are asked for, in as few rounds as possible."""
    rounds = make_rounds(["a", "b", "c", "d"], Pairs(), {}, only=frozenset({Pair("a", "b"), Pair("d", "c")}))
    assert len(rounds) == 1
    assert {frozenset(pair) for pair in rounds[0]} == {frozenset("ab"), frozenset("cd")}


@pytest.mark.parametrize(
    ("text", "pairs"), [("all", Pairs()), ("sample:16", Pairs(sample=16)), ("from:web-1", Pairs(node="web-1"))]
)
def test_what_is_wanted(text: str, pairs: Pairs) -> None:
    """Protects the words of `--pairs`."""
    assert Pairs.parse(text) == pairs


@pytest.mark.parametrize("text", ["", "some", "sample:", "sample:0", "sample:x", "from:", "sample:²"])
def test_what_cannot_be_wanted(text: str) -> None:
    """Protects from a typing error that measures something else."""
    with pytest.raises(ValueError, match="is not all"):
        Pairs.parse(text)
