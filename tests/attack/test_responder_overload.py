"""What the responder drops under load is reported as overload, and not as loss of the path."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from preflight_checks.udp_quality import judge

from preflight.api import Peer
from preflight.net.control.client import ControlClient
from preflight.net.stamp.path import PathProbes
from preflight.proto.core import Received
from preflight.proto.stamp.sender import SessionPlan, SessionSender
from preflight.settings.load import Settings
from preflight.settings.schema import Thresholds
from tests.attack import flooding
from tests.attack.flooding import GOOD_SSID
from tests.responder.conftest import (
    Running,
    Start,
    client,
    request,
)

start = flooding.start


def drops(port: int) -> int:
    """Datagrams for which the socket on this port of 127.0.0.1 had no room, by the kernel's own table."""
    rows = (line.split() for line in Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:])
    (count,) = (int(row[-1]) for row in rows if row[1] == f"0100007F:{port:04X}")
    return count


class Asker:
    """A session of this node, moved packet by packet."""

    def __init__(self, link: socket.socket, count: int) -> None:
        self.link = link
        self.sender = SessionSender(SessionPlan(ssid=GOOD_SSID, count=count, interval_s=0.0), 0.0, time.time_ns)

    def send(self, count: int) -> None:
        """This many packets, with no answer awaited."""
        for _ in range(count):
            for datagram in self.sender.datagrams_to_send(0.0):
                self.link.send(datagram.data)
                self.sender.sent(datagram, 0.0)

    def exchange(self) -> None:
        """One packet and its answer; others are sent until one is answered."""
        before = self.sender.stats().answered
        while self.sender.stats().answered == before:
            self.send(1)
            with suppress(TimeoutError):
                self.sender.receive(Received(self.link.recv(2048), received_ns=time.time_ns()), 0.0)


@contextmanager
def paused(running: Running) -> Iterator[None]:
    """The responder gets no CPU time meanwhile, as on a machine that is much too busy."""
    running.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        running.process.send_signal(signal.SIGCONT)


def overflow(place: tuple[str, int], source: str) -> None:
    """A stranger fills the receive queue of a responder that does not get to read; 60 000 packets at most."""
    before = drops(place[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((source, 0))
        for number in range(60_000):
            stranger.sendto(request(), place)
            if number % 500 == 499 and drops(place[1]) > before + 400:
                return
    pytest.fail("the queue does not fill up")


def test_what_its_own_queue_dropped_is_reported_and_is_no_loss_of_the_path(start: Start) -> None:
    """A stranger's flood overflows the receive queue: the asker learns of it, and its path is not called lossy."""
    responder = start("--allow", "127.0.0.1")
    place = responder.places[0]
    with client(place) as link:
        link.settimeout(1)
        asker = Asker(link, 40)
        asker.exchange()
        with paused(responder):
            overflow(place, "127.0.0.66")
            asker.send(30)
        asker.exchange()
        stats = asker.sender.stats()
    assert stats.forward is not None
    assert stats.forward.lost >= 30
    assert stats.drops.overflowed >= 30 + 400
    found = judge(Peer(*place[:1], "b", place[1]), stats, Thresholds())
    assert {str(result.code) for result in found if result.code} == {"run.overloaded"}
    assert "the receive queue of its responder had no room for" in found[0].message
    assert re.search(r"overflow \d{3,}", responder.end()[1])


def test_what_it_drops_for_a_peers_own_rate_is_reported(start: Start) -> None:
    """A sender above its rate learns that its packets were dropped for that, not that the path lost them."""
    responder = start("--allow", "127.0.0.1", "--max-rate", "50")
    place = responder.places[0]
    with client(place) as link:
        link.settimeout(1)
        asker = Asker(link, 140)
        asker.exchange()
        asker.send(100)
        while asker.sender.stats().drops.limited == 0:
            asker.exchange()
        stats = asker.sender.stats()
    found = judge(Peer(place[0], "b", place[1]), stats, Thresholds())
    assert not {str(result.code) for result in found if result.code} & {"udp.loss", "udp.blocked"}
    assert "rate limit" in " ".join(result.message for result in found)


FLOODS = {
    "a-stranger": ("127.0.0.1", ["127.0.0.66"]),
    "a-peer": ("127.0.0.0/8", ["127.0.0.66"]),
    "forged-peers": ("127.0.0.0/8", [f"127.0.7.{number}" for number in range(250)]),
}


POUR = """
import socket, sys, time
host, port, packet, *sources = sys.argv[1:]
links = []
for source in sources:
    links.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    links[-1].bind((source, 0))
    links[-1].connect((host, int(port)))
data, began = bytes.fromhex(packet), time.monotonic()
for number in range(60_000):
    links[number % len(links)].send(data)
    if number == 2_000:
        print("pouring", flush=True)
    while number > (time.monotonic() - began) * 20_000:
        time.sleep(0.0005)
"""


@contextmanager
def flooded(place: tuple[str, int], sources: Sequence[str]) -> Iterator[None]:
    """Twenty thousand packets a second, from these sources in turn; 60 000 at most."""
    words = [sys.executable, "-P", "-c", POUR, place[0], str(place[1]), request().hex(), *sources]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"pouring\n"
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("flood_of", FLOODS)
def test_a_flood_is_not_the_paths_fault(start: Start, flood_of: str) -> None:
    """Twenty thousand packets a second from others: a peer that measures meanwhile is served, or learns why not."""
    allow, sources = FLOODS[flood_of]
    responder = start("--allow", allow)
    peer = Peer(*responder.places[0][:1], "b", responder.places[0][1])
    settings = Settings()
    probes = PathProbes(settings, ControlClient(None, environment={}))
    assert asyncio.run(probes.stamp(peer, count=3, interval_s=0.004)).answered
    with flooded(responder.places[0], sources):
        stats = asyncio.run(probes.stamp(peer, count=200, interval_s=0.004))
    codes = {str(result.code) for result in judge(peer, stats, settings.thresholds) if result.code}
    assert not codes & {"udp.loss", "run.needs-responder"}
    assert "rate-limited" in responder.end()[1] or flood_of == "a-stranger"
