"""The responder as a process under attack: what it sends is never more than came, what it keeps has an end, and a good
peer is served all along."""

import asyncio
import fcntl
import os
import pty
import random
import re
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from preflight_checks.udp_quality import judge

from preflight.api import Peer
from preflight.net.control.client import ControlClient
from preflight.net.stamp.path import PathProbes
from preflight.proto.core import Received
from preflight.proto.pmtu import wire as probe
from preflight.proto.responder import hello
from preflight.proto.responder import reverse_trace as trace
from preflight.proto.responder.admission import MAX_SOURCES as MAX_ADMITTED
from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import MAX_SESSIONS, MAX_SOURCES
from preflight.proto.stamp.sender import Plan, SessionSender
from preflight.proto.stun import nat
from preflight.settings.load import Settings, Thresholds
from tests.proto.stamp import asking
from tests.responder.conftest import (
    KEY,
    UNLIMITED,
    Running,
    Start,
    client,
    command,
    environment,
    exchange,
    request,
    starting,
)

GOOD_SSID = 99


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts responders on loopback addresses."""
    with starting(tmp_path) as run:
        yield run


def keyed(start: Start, tmp_path: Path, *words: str) -> Running:
    """A responder that knows the key of the tests."""
    (tmp_path / "key").write_bytes(KEY)
    return start("--key-file", "key", *words)


def resident(running: Running) -> int:
    """Bytes of memory that the process has resident."""
    pages = int(Path(f"/proc/{running.process.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def numbered(link: socket.socket, sequence: int, key: bytes | None = None) -> int:
    """The number that the reflector gives to a packet of the good peer's session."""
    link.send(stamp.build_request(sequence, time.time_ns(), 1, GOOD_SSID, key=key))
    while True:
        answer = stamp.parse_answer(link.recv(65_535), key)
        if (answer.ssid, answer.sender_sequence) == (GOOD_SSID, sequence):
            return answer.sequence


def flood(place: tuple[str, int], sources: Iterable[tuple[str, int]], good: socket.socket, since: int) -> int:
    """A packet from each source; the good peer asks now and then, so that no buffer overflows, and is counted on."""
    data = request()
    for number, source in enumerate(sources):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
            each.bind(source)
            each.sendto(data, place)
        if number % 50 == 49:
            assert numbered(good, since) == since
            since += 1
    return since


def addresses(count: int, network: int) -> list[tuple[str, int]]:
    """So many addresses of the loopback network."""
    return [(f"127.{network}.{number >> 8}.{number & 255}", 0) for number in range(count)]


def test_replays_are_answered_byte_for_byte_and_disturb_no_other_session(start: Start, tmp_path: Path) -> None:
    """STAMP knows no replay protection: who records a signed packet gets back as much as it sends, and no more; the
    session that it was recorded from goes on with its own numbers."""
    responder = keyed(start, tmp_path, *UNLIMITED)
    recorded = stamp.build_request(0, time.time_ns(), 1, GOOD_SSID, key=KEY)
    with client(responder.places[0]) as good, client(responder.places[0]) as replayer:
        assert numbered(good, 0, KEY) == 0
        for sequence in range(1, 200):
            replayer.send(recorded)
            assert len(replayer.recv(65_535)) == len(recorded)
            assert numbered(good, sequence, KEY) == sequence


@pytest.mark.parametrize("allow", [(), ("--allow", "127.0.0.1")])
def test_forgeries_get_nothing(start: Start, tmp_path: Path, allow: tuple[str, ...]) -> None:
    """One flipped bit in any signed byte, or another key: dropped and counted, whoever sends it."""
    responder = keyed(start, tmp_path, *allow)
    signed = stamp.build_request(5, time.time_ns(), 1, 7, key=KEY)
    with client(responder.places[0]) as link:
        forged = [request(5, key=b"another key than theirs")]
        for place in [*range(4), *range(16, 112, 5)]:
            changed = bytearray(signed)
            changed[place] ^= 1
            forged.append(bytes(changed))
        for packet in forged:
            link.send(packet)
        # One after the other: whatever had been answered would stand before this.
        assert numbered(link, 6, KEY) == 0
    _, errors = responder.end()
    assert f"received {len(forged) + 1}, answered 1, bad-hmac {len(forged)}" in errors


def test_truncated_packets(start: Start, tmp_path: Path) -> None:
    """Cut at every byte: a known peer gets at most what it sent, a stranger nothing at all."""
    known = keyed(start, tmp_path, "--allow", "127.0.0.1", *UNLIMITED)
    tlvs = stamp_tlv.encode([asking.location(), asking.class_of_service(46)], sequence=5, key=KEY)
    packet = stamp.build_request(5, time.time_ns(), 1, 7, key=KEY, tlvs=tlvs)
    pieces = [packet[:length] for length in range(len(packet))]
    with client(known.places[0]) as link:
        came_in, went_out = exchange(link, pieces)
        assert 0 < went_out <= came_in
    stranger = keyed(start, tmp_path)
    with client(stranger.places[0]) as link:
        for piece in pieces[: stamp.AUTHENTICATED_BYTES]:
            link.send(piece)
        assert numbered(link, 0, KEY) == 0
    assert "answered 1," in stranger.end()[1]


def test_oversized_packets(start: Start) -> None:
    """The largest datagram there is, of padding, of thousands of TLVs, of TLVs that lie: answered by as many bytes."""
    largest = 65_507
    lying = stamp_tlv.Tlv(stamp_tlv.Kind.LOCATION, bytes(4) + b"\x80\x07\xff\xff" * 200).encode()
    fillings = [
        bytes(largest),
        stamp_tlv.padding(largest - 44),
        b"\x80\xf0\0\0" * 16_000,
        lying * 70,
        b"\x80\x02\xff\xff",
    ]
    responder = start("--allow", "127.0.0.1")
    with client(responder.places[0]) as link:
        for filling in fillings:
            packet = (request() + filling)[:largest]
            link.send(packet)
            assert len(link.recv(65_535)) == len(packet)


def test_a_flood_of_ports_and_addresses_ends_in_bounded_memory(start: Start) -> None:
    """Tables fill up to their bounds and no further; the good peer's session is remembered throughout."""
    responder = start("--allow", "127.0.0.0/8", *UNLIMITED)
    place = responder.places[0]
    with client(place) as good:
        since = flood(place, [("127.0.0.1", 0)] * (MAX_SESSIONS // 2), good, 0)
        since = flood(place, addresses(MAX_ADMITTED + 100, 20), good, since)
        full = resident(responder)
        since = flood(place, addresses(MAX_SOURCES + 500, 21), good, since)
        since = flood(place, addresses(MAX_ADMITTED + 100, 22), good, since)
        assert resident(responder) - full < 4 * 2**20
        assert numbered(good, since) == since


def test_strangers_cannot_starve_a_peer(start: Start) -> None:
    """However many made-up addresses ask, a provisioned one is served up to its own rate."""
    responder = start("--allow", "127.0.0.1", "--max-rate", "1000")
    with client(responder.places[0]) as good:
        for number, source in enumerate(addresses(600, 30)):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
                each.bind(source)
                each.sendto(request(), responder.places[0])
            if number % 50 == 49:
                assert numbered(good, number) == number // 50
    assert "answered 12," in responder.end()[1]


@pytest.mark.parametrize("allow", ["127.0.0.0/8", "10.66.0.0/24"])
def test_never_more_out_than_in_whatever_the_service(start: Start, tmp_path: Path, allow: str) -> None:
    """Bytes counted on the socket, for the magic of every service and for none, with and without a right to ask."""
    dice = random.Random(13)
    magics = [b"", probe.MAGIC, trace.MAGIC, nat.MAGIC, hello.MAGIC]
    responder = keyed(start, tmp_path, "--allow", allow, *UNLIMITED)
    came_in = went_out = 0
    with client(responder.places[0]) as link:
        for sequence in range(400):
            for data in _rubbish(dice, magics, sequence):
                came_in += link.send(data)
            good = stamp.build_request(sequence, time.time_ns(), 1, GOOD_SSID, key=KEY)
            came_in += link.send(good)
            while True:
                answer = link.recv(65_535)
                went_out += len(answer)
                if len(answer) == len(good) and answer[48:52] == good[:4]:
                    break
    assert 400 * stamp.AUTHENTICATED_BYTES <= went_out <= came_in


def _rubbish(dice: random.Random, magics: Sequence[bytes], number: int) -> list[bytes]:
    """Of each magic: random bytes, and a well-formed probe of each kind that nobody signed."""
    asked = probe.Message(dice.choice(list(probe.Kind)), b"12345678", number, sizes=(1400,) * dice.randrange(10))
    return [*(magic + dice.randbytes(dice.randrange(300)) for magic in magics), probe.encode(asked)]


@pytest.mark.parametrize("words", [(), ("--stateless",)], ids=["stateful", "stateless"])
def test_a_hangup_ends_it_with_its_counters(start: Start, words: tuple[str, ...]) -> None:
    """SIGHUP ends it as SIGTERM does: exit 0, and one line that tells what it did."""
    responder = start("--allow", "127.0.0.1", *words)
    with client(responder.places[0]) as link:
        assert numbered(link, 0) == 0
    assert responder.end(signal.SIGHUP) == (0, "preflight responder: received 1, answered 1\n")


def test_a_terminal_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """When its terminal hangs up there is nobody to tell the counters to, and it ends with 0 all the same."""
    controller, terminal = pty.openpty()
    with os.fdopen(controller, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            command("--bind", "127.0.0.1:0", "--allow", "127.0.0.1"),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=tmp_path,
            env=environment(),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        said = b""
        while b"listening on" not in said or not said.endswith(b"\n"):
            said += screen.read(1024)
    assert process.wait(30) == 0


def test_nohup_keeps_it_beyond_a_hangup(start: Start) -> None:
    """A SIGHUP that was ignored when it started stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        responder = start("--allow", "127.0.0.1")
    finally:
        signal.signal(signal.SIGHUP, before)
    responder.process.send_signal(signal.SIGHUP)
    with client(responder.places[0]) as link:
        assert numbered(link, 0) == 0
    assert responder.end()[0] == 0


def drops(port: int) -> int:
    """Datagrams for which the socket on this port of 127.0.0.1 had no room, by the kernel's own table."""
    rows = (line.split() for line in Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:])
    (count,) = (int(row[-1]) for row in rows if row[1] == f"0100007F:{port:04X}")
    return count


class Asker:
    """A session of this node, moved packet by packet."""

    def __init__(self, link: socket.socket, count: int) -> None:
        self.link = link
        self.sender = SessionSender(Plan(ssid=GOOD_SSID, count=count, interval_s=0.0), 0.0, time.time_ns)

    def send(self, count: int) -> None:
        """So many packets, of which nothing is awaited."""
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
    """The responder does not get to run meanwhile, as on a machine that is much too busy."""
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


def test_what_its_own_queue_dropped_is_told_and_is_no_loss_of_the_path(start: Start) -> None:
    """A stranger's flood overflows the receive queue: the asker is told of it, and its path is not called lossy."""
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


def test_what_it_drops_for_a_peers_own_rate_is_told(start: Start) -> None:
    """Who sends more than one source may hears that its packets were dropped for that, not that the path lost them."""
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
    assert "for their rate" in " ".join(result.message for result in found)


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
    """Twenty thousand packets a second from others: a peer that measures meanwhile is served, or told why it is not."""
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
