"""The echo search against simulated hosts and paths: every message is moved by function call, none by a socket."""

import heapq
import itertools
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.pmtu import PathMtu, SearchOutcome
from preflight.proto.core import Received
from preflight.proto.pmtu.echo import EchoSearch
from preflight.proto.pmtu.fast import PACE_S
from preflight.proto.pmtu.wire import MAGIC, overhead
from tests.proto.pmtu.conftest import PORT_UNREACHABLE, sent, too_big

PEER = "10.66.0.2"
TOKEN = bytes(range(8))
HEADER = 8
Carry = Callable[[int], bool]


def up_to(mtu: int) -> Carry:
    """A path that carries packets up to `mtu` bytes and drops the rest."""
    return lambda size: size <= mtu


def started(host: "Host | None" = None, *, address: str = PEER, ip_header: bool = False) -> EchoSearch:
    """A search towards the peer; `host` counts what this node reassembles."""
    count = (lambda: host.reassembled) if host else (lambda: None)
    return EchoSearch(address=address, ceiling=1420, token=TOKEN, identifier=7, ip_header=ip_header, reassembled=count)


@dataclass
class Host:
    """A peer that answers echoes, and the two ways to it. Times in seconds, rates as parts of one.

    `tells`: the MTU in the ICMP error about a request that is too big; None: silence. splits: answers over that size
    come in fragments.
    """

    there: Carry = up_to(65535)
    back: Carry = up_to(65535)
    address: str = PEER
    delay: float = 0.02
    jitter: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0
    tells: int | None = None
    splits: int = 65535
    seed: int = 0
    now: float = 100.0
    reassembled: int = 0
    queue: list[tuple[float, int, str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.order = itertools.count()
        self.reply = 129 if ":" in self.address else 0

    def search(self, search: EchoSearch) -> PathMtu:
        """Run it completely, in simulated time."""
        while search.result is None:
            for message in sent(search, self.now):
                self.request(message)
            timer = search.get_timer()
            assert timer is not None
            if self.queue and self.queue[0][0] <= timer:
                self.now, _, what, message = heapq.heappop(self.queue)
                self.deliver(search, what, message)
            else:
                self.now = max(self.now, timer)
            search.handle_timer(self.now)
            assert self.now < 200, "the search does not end"
        assert search.get_timer() is None
        return search.result

    def request(self, message: bytes) -> None:
        """Let a request and its answer cross: they may be lost or delayed."""
        size = len(message) - HEADER + overhead(self.address)
        if not self.there(size):
            if self.tells is not None:
                self.later("too-big", message)
            return
        if not self.back(size) or self.rng.random() < self.loss:
            return
        for _ in range(2 if self.rng.random() < self.duplicates else 1):
            self.later("answer", bytes([self.reply]) + message[1:])

    def later(self, what: str, message: bytes) -> None:
        """Have it arrive after a round trip."""
        at = self.now + 2 * self.delay + self.rng.random() * self.jitter
        heapq.heappush(self.queue, (at, next(self.order), what, message))

    def deliver(self, search: EchoSearch, what: str, message: bytes) -> None:
        """Hand over what has arrived."""
        if what == "too-big":
            assert self.tells is not None
            search.refused(too_big(message[:136], self.tells, "192.0.2.1"), self.now)
            return
        self.reassembled += len(message) - HEADER + overhead(self.address) > self.splits
        search.receive(Received(message), self.now)


@pytest.mark.parametrize(
    "impairment",
    [{}, {"loss": 0.05}, {"jitter": 0.03}, {"loss": 0.02, "jitter": 0.02, "duplicates": 0.05}],
    ids=["clean", "loss", "reordering", "all"],
)
@pytest.mark.parametrize("way", ["there", "back"])
def test_the_size_is_exact(way: str, impairment: dict[str, float]) -> None:
    """Protects the promise: the exact byte, whichever way loses what is larger, under loss, reordering, duplicates."""
    for mtu in range(1280, 1421, 7):
        host = Host(**{way: up_to(mtu)}, seed=mtu, **impairment)  # type: ignore[arg-type]  # names of its fields
        found = host.search(started())
        assert (found.outcome, found.mtu_bytes, found.black_hole) == (SearchOutcome.MEASURED, mtu, mtu < 1420), found


def test_ipv6_counts_its_own_headers() -> None:
    """Protects the arithmetic: sizes are IP packets in both families, and ICMPv6 has its own types."""
    found = Host(there=up_to(1300), address="fd66::2").search(started(address="fd66::2"))
    assert (found.mtu_bytes, found.black_hole) == (1300, True)


def test_a_path_that_fits_takes_few_echoes() -> None:
    """Protects the usual case: two round trips and no finding."""
    found = Host().search(started())
    assert (found.fits, found.rounds, found.black_hole) == (True, 2, False)
    assert found.probes_sent <= 6


@pytest.mark.parametrize("loss", [0.3, 0.6])
def test_heavy_loss_never_makes_a_finding(loss: float) -> None:
    """Protects against the worst answer: a lost echo is not "too big"."""
    for seed in range(30):
        found = Host(loss=loss, seed=seed).search(started())
        assert not found.black_hole, (seed, found)


def test_an_icmp_error_is_proof_that_the_sender_is_informed() -> None:
    """Protects the signalled case from being called a black hole; the error steers and never sets the value."""
    found = Host(there=up_to(1380), tells=1380).search(started())
    assert (found.mtu_bytes, found.signalled, found.black_hole) == (1380, True, False)
    assert found.icmp_from == ("192.0.2.1",)
    lied = Host(there=up_to(1380), tells=1400).search(started())
    assert (lied.mtu_bytes, lied.signalled, lied.black_hole) == (1380, False, True)


def test_a_forged_icmp_error_is_ignored() -> None:
    """Protects against off-path attackers: what does not quote our token is not believed (RFC 8899 section 4.6.1)."""
    host, search = Host(there=up_to(1400)), started()
    sent(search, host.now)
    for quoted in (b"", bytes(8), bytes(8) + MAGIC + b"wrongtok" + bytes(4), MAGIC + TOKEN + bytes(4)):
        search.refused(too_big(quoted, 600, "203.0.113.66"), host.now)
    found = host.search(search)
    assert (found.mtu_bytes, found.icmp_from, found.signalled) == (1400, (), False)


def test_answers_in_fragments_are_no_whole_ones() -> None:
    """Protects a path whose tunnel fragments on the way back from passing, and from being called a black hole."""
    host = Host(splits=1312)
    found = host.search(started(host))
    assert (found.mtu_bytes, found.fragmented_outside, found.black_hole) == (1312, True, False)


def test_silence_ends_the_search() -> None:
    """Protects a run against a host that filters echoes: an outcome, within seconds, and no size."""
    found = Host(back=lambda size: False).search(started())
    assert (found.outcome, found.mtu_bytes) == (SearchOutcome.NO_ANSWER, None)
    assert found.duration_s < 6


def test_a_host_that_answers_short_proves_no_more_than_it_returns() -> None:
    """Protects against hosts that cut what they return: an answer of another size than the request does not count."""

    class Cutting(Host):
        def later(self, what: str, message: bytes) -> None:
            super().later(what, message[: 1000 + HEADER])

    found = Cutting().search(started())
    assert (found.outcome, found.mtu_bytes) == (SearchOutcome.MEASURED, 1000 + overhead(PEER))


def test_requests_are_well_formed() -> None:
    """Protects what leaves: type, identifier, and a checksum that comes out as zero over the whole (RFC 1071)."""
    (hello,) = sent(started(), 1.0)
    assert hello[:2] == b"\x08\0"
    assert struct.unpack_from("!HH", hello, 4) == (7, 0)
    total = sum(struct.unpack(f"!{len(hello) // 2}H", hello))
    assert (total >> 16) + (total & 0xFFFF) == 0xFFFF
    (hello6,) = sent(started(address="fd66::2"), 1.0)
    assert hello6[:4] == b"\x80\0\0\0", "the kernel fills in the checksum of ICMPv6"


def test_a_raw_socket_shows_the_ip_header() -> None:
    """Protects raw sockets: the header, with options too, is removed, and our own requests do not count as answers."""
    search = started(ip_header=True)
    (hello,) = sent(search, 1.0)
    large = [data for step in (1, 2) for data in sent(search, 1.0 + step * PACE_S * 1.01)]
    for own in (hello, *large):
        search.receive(Received(b"\x45" + bytes(19) + own), 1.01)
    assert sent(search, 1.011) == []
    for own in (hello, *large):
        search.receive(Received(b"\x46" + bytes(23) + b"\0" + own[1:]), 1.02)
    assert sent(search, 1.021)


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_are_ignored(data: bytes, ip_header: bool) -> None:
    """Protects the search against whatever else arrives on its socket."""
    search = started(ip_header=ip_header)
    sent(search, 1.0)
    for message in (data, bytes(HEADER) + data, bytes(HEADER) + MAGIC + TOKEN + data):
        search.receive(Received(message), 1.1)
        search.refused(too_big(message, 1300, "192.0.2.9"), 1.1)
    search.refused(PORT_UNREACHABLE, 1.2)
    assert search.result is None
