"""Where large packets vanish, against simulated ways: never a wrong hop, and a reason wherever it is not known."""

import errno
import random
from dataclasses import dataclass, field

import pytest

from preflight.model.pmtu_hops import HopFate, Vanishing
from preflight.proto.core import ORIGIN_ICMP, Refusal
from preflight.proto.pmtu.hops import MAX_HOPS, WAVE, HopSearch

TOKEN = bytes(range(8))
SMALL, LARGE = 1312, 1313


def error(quoted: bytes, offender: str, at_destination: bool) -> Refusal:
    """ "Time exceeded" of a hop, "port unreachable" of the destination."""
    kind, code = (3, 3) if at_destination else (11, 0)
    return Refusal(errno.EHOSTUNREACH, ORIGIN_ICMP, kind, code, quoted=quoted, offender=offender)


@dataclass
class Way:
    """Hops 1 to `length` - 1, then the destination.

    hole: the hop behind which large packets vanish, 0 = on this node's own link. silent: hops that never answer.
    tokens: errors that each host may still send, and `refill` more in a second. loss: of packets and of answers.
    """

    length: int
    hole: int
    silent: frozenset[int] = frozenset()
    tokens: float = 6
    refill: float = 0.0
    loss: float = 0.0
    seed: int = 0
    restless: bool = False
    sent: list[int] = field(default_factory=list)

    def search(self) -> Vanishing:
        """Run a search completely, in simulated time."""
        rng, now, left = random.Random(self.seed), 10.0, dict.fromkeys(range(1, self.length + 1), float(self.tokens))
        search = HopSearch(address="10.66.0.2", small=SMALL, large=LARGE, token=TOKEN, patience_s=0.2)
        while search.get_timer() is not None:
            wave = search.datagrams_to_send(now)
            self.sent.append(len(wave))
            for payload, _, ttl in wave:
                assert ttl is not None
                host = min(ttl, self.length)
                lost = len(payload) + 28 == LARGE and host > self.hole
                if lost or host in self.silent or rng.random() < self.loss or left[host] < 1:
                    continue
                left[host] -= 1
                if rng.random() >= self.loss:
                    search.refused(error(payload[:32], self.address(host, rng), host == self.length), now + 0.01)
            timer = search.get_timer()
            before, now = now, now if timer is None else max(now + 0.01, timer)
            left = {host: min(6, tokens + (now - before) * self.refill) for host, tokens in left.items()}
            search.handle_timer(now)
            assert now < 100, "the search does not end"
        assert search.result is not None
        return search.result

    def address(self, host: int, rng: random.Random) -> str:
        """Who answers there."""
        return f"192.0.2.{host + (100 * rng.randrange(2) if self.restless else 0)}"


@pytest.mark.parametrize("length", [2, 3, 5, 9])
def test_the_last_hop_that_is_reached_is_named(length: int) -> None:
    """Protects the answer itself, wherever the hole is: on the first link, between two hops, on the last link."""
    for hole in range(length):
        found = Way(length, hole).search()
        assert found.doubt == ""
        assert (found.last.ttl if found.last else 0) == hole
        assert found.destination == length


def test_few_packets_are_sent_at_once() -> None:
    """Protects the hops: their ICMP is limited, and so is what a path that is in trouble should carry."""
    way = Way(9, 3)
    way.search()
    assert max(way.sent) <= 2 * WAVE


def test_a_direct_way_has_no_hop_to_name() -> None:
    """Protects full meshes: nothing is said where nothing is between."""
    found = Way(1, 0).search()
    assert (found.last, found.doubt) == (None, "there is no hop in between")


def test_silence_is_no_evidence() -> None:
    """Protects against guesses: hops that filter ICMP leave a doubt, and it is said which of them do."""
    nobody = Way(4, 2, silent=frozenset(range(1, 5))).search()
    assert (nobody.hops, nobody.doubt) == ((), "no hop answers")
    behind = Way(5, 2, silent=frozenset({3})).search()
    assert (behind.last and behind.last.ttl, behind.doubt) == (2, "hop 3 does not answer")
    at_it = Way(5, 2, silent=frozenset({2})).search()
    assert (at_it.last and at_it.last.ttl, at_it.doubt) == (1, "hop 2 does not answer")
    hidden_end = Way(3, 2, silent=frozenset({3})).search()
    assert hidden_end.doubt == "hop 3 does not answer"


def test_a_limit_on_icmp_is_no_hole() -> None:
    """Protects hops that answer twice and then no more: too little to decide."""
    found = Way(4, 1, tokens=2).search()
    assert found.doubt == "hop 2 does not answer often enough"


def test_a_limit_on_icmp_is_waited_for() -> None:
    """Protects the answer where other traceroutes used up what a Linux router grants: one more error each second."""
    found = Way(4, 1, tokens=3, refill=1.0).search()
    assert (found.last and found.last.ttl, found.doubt) == (1, "")


def test_a_way_that_changes_is_not_judged() -> None:
    """Protects load balancing: where two routers answer at one distance, nothing is claimed."""
    found = Way(4, 2, restless=True, seed=3).search()
    assert found.doubt == "the path changes"


@pytest.mark.parametrize("loss", [0.02, 0.05, 0.1])
def test_loss_never_names_a_wrong_hop(loss: float) -> None:
    """Protects the promise under loss: the right hop or a doubt."""
    certain = 0
    for seed in range(400):
        hole = seed % 4
        found = Way(4, hole, loss=loss, seed=seed, tokens=4 + seed % 7).search()
        if not found.doubt:
            certain += 1
            assert (found.last.ttl if found.last else 0) == hole, (seed, found)
    assert certain >= 100


def test_what_others_quote_is_ignored() -> None:
    """Protects against forged errors: without the token, or about a packet that was never sent, nothing is believed."""
    search = HopSearch(address="10.66.0.2", small=SMALL, large=LARGE, token=TOKEN, patience_s=0.2)
    wave = search.datagrams_to_send(1.0)
    assert [datagram.ttl for datagram in wave] == [1, 2, 3, 4]
    for quoted in (b"", TOKEN, b"elsewhat" + bytes(8), TOKEN + (500).to_bytes(2)):
        search.refused(error(quoted, "203.0.113.66", False), 1.1)
    search.handle_timer(1.3)
    assert search.datagrams_to_send(1.3) == []
    assert search.result == Vanishing(SMALL, LARGE)


def test_sizes_are_those_of_ip_packets() -> None:
    """Protects the arithmetic in both families."""
    for address, headers in (("10.66.0.2", 28), ("fd66::2", 48)):
        search = HopSearch(address=address, small=SMALL, large=LARGE, token=TOKEN, patience_s=0.2)
        assert {len(datagram.data) + headers for datagram in search.datagrams_to_send(1.0)} == {SMALL}


def test_a_long_way_is_left_in_doubt() -> None:
    """Protects the bound: behind the last hop that is asked nothing is claimed."""
    found = Way(MAX_HOPS + 3, MAX_HOPS).search()
    assert found.doubt == f"hop {MAX_HOPS + 1} does not answer"


def test_one_answer_more_or_less_decides() -> None:
    """Protects the thresholds: a hop counts as not reached only by six large packets and five small ones."""
    hop = HopFate(1, ("192.0.2.1",), asked=6, small_answers=5)
    assert Vanishing(SMALL, LARGE, (hop,)).doubt == ""
    for weaker in (HopFate(1, hop.addresses, 5, 5), HopFate(1, hop.addresses, 6, 4)):
        assert Vanishing(SMALL, LARGE, (weaker,)).doubt == "hop 1 does not answer often enough"
