"""The lab's own bad link and the kernel's netem: the same burst through both, on one underlay without a tunnel."""

import secrets
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from preflight.lab import build, faults
from preflight.lab.blueprint import plain
from preflight.lab.impairment import Impairment
from preflight.lab.names import ROUTER, LabNames
from preflight.lab.network import Network, inside, router_link
from preflight.lab.processes import run
from preflight.lab.topology import underlay_address

pytestmark = [pytest.mark.vm, pytest.mark.lab]

COUNT = 1000
PORT = 40000


@dataclass(frozen=True)
class Seen:
    """What came of a burst: the numbers of its datagrams as they arrived, and how long each took."""

    numbers: list[int]
    delays_ms: list[float]

    @property
    def lost(self) -> int:
        """How many never arrive."""
        return COUNT - len(set(self.numbers))

    @property
    def copies(self) -> int:
        """How many arrive once more."""
        return len(self.numbers) - len(set(self.numbers))

    @property
    def overtaken(self) -> int:
        """How many arrive behind one that was sent later."""
        highest, found = -1, 0
        for number in self.numbers:
            found += number < highest
            highest = max(highest, number)
        return found


Build = Callable[[], Network]


@pytest.fixture
def underlay(tmp_path: Path) -> Iterator[Build]:
    """Build the links of a plain lab; nothing is left of them after the test."""
    labs = []

    def make() -> Network:
        names = LabNames.of(f"test-{secrets.token_hex(4)}", tmp_path)
        names.directory.mkdir()
        labs.append(names)
        network = Network(names, plain("pair"), {})
        network.lay_underlay()
        return network

    yield make
    for names in labs:
        build.down(names)


def burst(network: Network) -> Seen:
    """Numbered datagrams from a to b's underlay address, 2 ms apart."""
    with inside(network.names.namespace("b")):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside(network.names.namespace("a")):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
        receiver.bind(("", PORT))
        sender.connect((underlay_address("b", 4), PORT))
        sender.send(b"for ARP")
        assert receiver.recv(64) == b"for ARP"
        sent, arrived = [], []
        for number in range(COUNT):
            sent.append(time.monotonic())
            sender.send(number.to_bytes(4))
            time.sleep(0.002)
            arrived += waiting(receiver, 0.0)
        arrived += waiting(receiver, 0.5)
    arrived = [(number, at) for number, at in arrived if number < COUNT]
    return Seen([number for number, _ in arrived], [(at - sent[number]) * 1000 for number, at in arrived])


def waiting(receiver: socket.socket, wait_s: float) -> list[tuple[int, float]]:
    """What has arrived, and what comes as long as nothing is missing for longer."""
    found = []
    receiver.settimeout(wait_s)
    try:
        while True:
            data = receiver.recv(64)
            if len(data) == 4:
                found.append((int.from_bytes(data), time.monotonic()))
    except (TimeoutError, BlockingIOError):
        return found


def both(underlay: Build, impairment: Impairment, *netem: str) -> tuple[Seen, Seen]:
    """The same burst through the lab's bad link, and through the kernel's."""
    ours, theirs = underlay(), underlay()
    faults.impaired("a", "b", impairment).inject(ours)
    run(theirs.command(ROUTER, "tc", "qdisc", "add", "dev", router_link("b"), "root", "netem", *netem))
    seen = burst(ours), burst(theirs)
    for who, each in zip(("ours", "netem"), seen, strict=True):
        median = statistics.median(each.delays_ms)
        print(f"{who}: lost {each.lost}, copies {each.copies}, overtaken {each.overtaken}, median {median:.1f} ms")
    return seen


def test_delay(underlay: Build) -> None:
    """Neither loses, doubles or reorders, and neither is early."""
    for seen in both(underlay, Impairment(delay_ms=40), "limit", "10000", "delay", "40ms"):
        assert (seen.lost, seen.copies, seen.overtaken) == (0, 0, 0)
        assert min(seen.delays_ms) >= 39


def test_loss(underlay: Build) -> None:
    """Ten of a hundred, within five standard deviations."""
    for seen in both(underlay, Impairment(loss_percent=10), "loss", "10%"):
        assert 50 <= seen.lost <= 150
        assert (seen.copies, seen.overtaken) == (0, 0)


def test_duplication(underlay: Build) -> None:
    """Twenty of a hundred, within five standard deviations."""
    for seen in both(underlay, Impairment(duplication_percent=20), "duplicate", "20%"):
        assert 135 <= seen.copies <= 265
        assert (seen.lost, seen.overtaken) == (0, 0)


def test_reordering(underlay: Build) -> None:
    """Both reorder and lose nothing. netem lets some go ahead of all that wait, ours lets one packet pass."""
    ours, theirs = both(underlay, Impairment(reordering_percent=20), "delay", "10ms", "reorder", "20%")
    assert (ours.lost, ours.copies, theirs.lost, theirs.copies) == (0, 0, 0, 0)
    assert 100 <= ours.overtaken <= 300
    # Each that goes ahead overtakes some five others, which were sent within 10 ms before it.
    assert theirs.overtaken > ours.overtaken


def test_jitter_alone_reorders_in_netem_only(underlay: Build) -> None:
    """The lab's jitter keeps the order, as a link does: a jitter row proves jitter and nothing else."""
    ours, theirs = both(underlay, Impairment(delay_ms=20, jitter_ms=40), "delay", "40ms", "20ms")
    assert (ours.lost, theirs.lost, ours.overtaken) == (0, 0, 0)
    assert theirs.overtaken > 0
