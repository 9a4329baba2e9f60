"""A simulated network for path-MTU searches: every datagram is moved by function call, none by a socket."""

import errno
import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from preflight.model.event import Tell, silent
from preflight.model.pmtu import OneWay, PathMtu
from preflight.proto.core import ORIGIN_ICMP, ORIGIN_LOCAL, Core, Received, Refusal
from preflight.proto.pmtu.exchange import Exchange
from preflight.proto.pmtu.fast import PathMtuSearch
from preflight.proto.pmtu.strict import StrictPathMtuSearch
from preflight.proto.pmtu.wire import ProbeServer, overhead

NODE, PEER = "10.66.0.1", "10.66.0.2"
TOKEN = bytes(range(8))
WHOLE, FRAGMENTS, LOST = "whole", "fragments", "lost"


def sent(core: Core[Any], now: float) -> list[bytes]:
    """The payloads of what a core sends."""
    return [datagram.data for datagram in core.datagrams_to_send(now)]


def too_big(quoted: bytes, mtu: int, source: str) -> Refusal:
    """The ICMP error of a router."""
    return Refusal(errno.EMSGSIZE, ORIGIN_ICMP, mtu=mtu, quoted=quoted, offender=source)


def too_big_here(mtu: int) -> Refusal:
    """The refusal of this node's own interface."""
    return Refusal(errno.EMSGSIZE, ORIGIN_LOCAL, mtu=mtu)


PORT_UNREACHABLE = Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3, offender=PEER)


def up_to(mtu: int) -> Callable[[int, float], str]:
    """A path that carries packets up to `mtu` bytes and drops the rest."""
    return lambda size, now: WHOLE if size <= mtu else LOST


def wireguard(underlay: int, device: int, *, fragments: bool = False) -> Callable[[int, float], str]:
    """A tunnel over IPv4 that pads to 16 bytes, capped at its own MTU; it may fragment what does not fit outside."""

    def carry(size: int, now: float) -> str:
        outer = 60 + min(-(-size // 16) * 16, device)
        return WHOLE if outer <= underlay else FRAGMENTS if fragments else LOST

    return carry


def wireguard_go(underlay: int, device: int, signalled_after: float) -> Callable[[int, float], str]:
    """As wireguard-go does: outer packets with DF vanish until the kernel heard of the size, then go in fragments."""
    before, after = wireguard(underlay, device), wireguard(underlay, device, fragments=True)
    return lambda size, now: (before if now < signalled_after else after)(size, now)


@dataclass
class Link:
    """One direction of a path. Times in seconds, rates as parts of one."""

    carry: Callable[[int, float], str]
    delay: float = 0.02
    jitter: float = 0.0
    loss: float = 0.0
    duplicates: float = 0.0
    tells: int | None = None
    """The MTU in the ICMP error that a dropped packet causes; None: silence."""
    tells_every: int = 1
    """Only every so many dropped packets cause one: routers limit their ICMP."""
    s_per_byte: float = 0.0
    """How long a slow link takes for a byte; what comes in faster waits in its queue."""
    room: int = 6600
    """Bytes that may wait there; what comes then is lost."""
    dropped: int = 0
    overflowed: int = 0
    busy_until: float = 0.0

    def queue(self, size: int, now: float) -> float | None:
        """For how long a packet waits and is sent; None: there is no room for it."""
        if not self.s_per_byte:
            return 0.0
        begins = max(now, self.busy_until)
        if (begins - now) + size * self.s_per_byte > self.room * self.s_per_byte:
            self.overflowed += 1
            return None
        self.busy_until = begins + size * self.s_per_byte
        return self.busy_until - now


@dataclass
class Network:
    """Both directions, a responder, and what its host knows."""

    forward: Link
    reverse: Link
    seed: int = 0
    ceiling: int = 1420
    peer_mtu: int = 1420
    key: bytes | None = None
    noise: Callable[[random.Random], int] = lambda rng: 0
    counts: bool = True
    forger: Callable[[random.Random], tuple[bytes, int]] | None = None
    """Whose ICMP errors come at every step: what they quote, and the MTU that they claim."""
    address: str = PEER
    node: str = NODE
    rtt_s: float | None = None
    """What this node knows of the round trip before it begins."""
    now: float = 100.0
    queue: list[tuple[float, int, str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.order = itertools.count()
        self.put_together = {"node": 0, "peer": 0}
        self.peer_knows = self.peer_mtu
        self.sent: list[tuple[float, int]] = []
        self.in_flight: list[int] = []
        self.server = ProbeServer(self.key, b"s" * 16, self)

    def device_mtu(self, address: str) -> int:
        """What the responder says of its host."""
        return self.peer_mtu

    def path_mtu(self, address: str) -> int:
        """What the responder says of its host."""
        return self.peer_knows

    def reassembled(self) -> int | None:
        """What the responder says; reading it may come after other traffic's fragments."""
        self.put_together["peer"] += self.noise(self.rng)
        return self.put_together["peer"] if self.counts else None

    def send(self, link: Link, to: str, data: bytes) -> None:
        """Let a datagram cross a link: it may be lost, delayed or copied."""
        size = len(data) + overhead(self.address)
        waits = link.queue(size, self.now)
        if waits is None:
            return
        fate = link.carry(size, self.now)
        if fate == LOST:
            link.dropped += 1
            if link.tells is not None and link.dropped % link.tells_every == 0:
                self.at(2 * link.delay, "icmp-" + to, data)
            return
        if self.rng.random() < link.loss:
            return
        for _ in range(2 if self.rng.random() < link.duplicates else 1):
            self.at(waits + link.delay + self.rng.random() * link.jitter, to + "-" + fate, data)

    def at(self, delay: float, what: str, data: bytes) -> None:
        """Have it arrive after `delay` seconds."""
        heapq.heappush(self.queue, (self.now + delay, next(self.order), what, data))

    def search(self, direction: OneWay, kind: type[PathMtuSearch | StrictPathMtuSearch] = PathMtuSearch) -> PathMtu:
        """Run a search completely."""
        return self.drive(kind(self.exchange(direction)))

    def exchange(self, direction: OneWay, tell: Tell = silent) -> Exchange:
        """What a search on this network begins with."""
        return Exchange(
            direction,
            address=self.address,
            ceiling=self.ceiling,
            token=TOKEN,
            key=self.key,
            reassembled=lambda: self.put_together["node"] if self.counts else None,
            rtt_s=self.rtt_s,
            tell=tell,
        )

    def drive(self, search: Core[PathMtu]) -> PathMtu:
        """Run this search completely, in simulated time."""
        until = self.now + 100
        while search.result is None:
            for data in sent(search, self.now):
                self.sent.append((self.now, len(data)))
                self.in_flight.append(sum(at > self.now - 2 * self.forward.delay for at, _ in self.sent))
                self.send(self.forward, "peer", data)
            timer = search.get_timer()
            assert timer is not None
            if self.queue and self.queue[0][0] <= timer:
                self.now, _, what, data = heapq.heappop(self.queue)
                self.deliver(search, what, data)
            else:
                self.now = max(self.now, timer)
            search.handle_timer(self.now)
            if self.forger is not None:
                search.refused(too_big(*self.forger(self.rng), "203.0.113.66"), self.now)
            assert self.now < until, "the search does not end"
        assert search.get_timer() is None
        assert sent(search, self.now) == []
        return search.result

    def deliver(self, search: Core[PathMtu], what: str, data: bytes) -> None:
        """Hand over what has arrived."""
        if what == "icmp-peer":
            assert self.forward.tells is not None
            search.refused(too_big(data[:128], self.forward.tells, "192.0.2.1"), self.now)
        elif what == "icmp-node":
            assert self.reverse.tells is not None
            self.peer_knows = self.reverse.tells
        else:
            host, _, fate = what.partition("-")
            if fate == FRAGMENTS:
                self.put_together[host] += 1
            if host == "peer":
                for answer in self.server.handle(data, (self.node, 4000), self.now):
                    self.send(self.reverse, "node", answer)
            else:
                self.put_together["node"] += self.noise(self.rng)
                search.receive(Received(data), self.now)


DIRECTIONS: tuple[OneWay, ...] = ("forward", "reverse")
BOTH = pytest.mark.parametrize("direction", DIRECTIONS)


def network(direction: OneWay, measured: Link, **more: Any) -> Network:
    """A network whose one direction is `measured` while the other one carries all, late as the first."""
    other = Link(up_to(65535), delay=measured.delay, jitter=measured.jitter)
    forward, reverse = (measured, other) if direction == "forward" else (other, measured)
    return Network(forward, reverse, **more)
