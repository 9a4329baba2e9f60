"""The responder under attack: strangers, forgeries and floods get nothing, and it ends with its counters."""

import fcntl
import os
import pty
import random
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from preflight.proto.pmtu import wire as probe
from preflight.proto.responder import hello
from preflight.proto.responder import reverse_trace as trace
from preflight.proto.responder.admission import MAX_SOURCES as MAX_ADMITTED
from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import MAX_SESSIONS, MAX_SOURCES
from preflight.proto.stun import nat
from tests.attack import flooding
from tests.attack.flooding import GOOD_SSID
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
)

start = flooding.start


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
    """This many addresses of the loopback network."""
    return [(f"127.{network}.{number >> 8}.{number & 255}", 0) for number in range(count)]


def test_replays_are_answered_byte_for_byte_and_disturb_no_other_session(start: Start, tmp_path: Path) -> None:
    """STAMP has no replay protection: a host that replays a signed packet gets back as much as it sends, and no more.

    The session that it was recorded from goes on with its numbers.
    """
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
    """One flipped bit in any signed byte, or another key: dropped and counted, whatever its source."""
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
    """SIGHUP ends it as SIGTERM does: exit 0, and one line that says what it did."""
    responder = start("--allow", "127.0.0.1", *words)
    with client(responder.places[0]) as link:
        assert numbered(link, 0) == 0
    assert responder.end(signal.SIGHUP) == (0, "preflight responder: received 1, answered 1\n")


def test_a_terminal_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """When its terminal hangs up nobody reads the counters, and it ends with 0 anyway."""
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
