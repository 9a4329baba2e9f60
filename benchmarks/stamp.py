"""STAMP: the codec against scapy's, and the responder as a process under load, flood and rubbish, over loopback."""

import json
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.load import SSID
from benchmarks.measure import Row, quick, times
from preflight.proto.pmtu import wire as probe
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import MAX_SESSIONS, MAX_SOURCES

RUNS = 3
PACKETS = 150_000
FLOOD = 10_000
ADDRESSES, PORTS = MAX_SOURCES - 24, MAX_SESSIONS
"""Nearly as many sources, and as many sessions of each, as the reflector remembers: the most that a flood can fill."""
SCAPY = "scapy.contrib.stamp"
KEY = b"0123456789abcdef0123456789abcdef"
NOW_NS = 1_795_479_667_927_456_984
MIB = 1 << 20


def rows() -> list[Row]:
    """Needs only loopback and, for honest figures, two cores: one for the responder, one for the load."""
    return [*_codec(), _reflector(None), _reflector(KEY), *_flood(), _amplification()]


def _codec() -> Iterator[Row]:
    """Microseconds a packet of one process; scapy has no authenticated format."""
    from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated as ReflectorPacket
    from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated as SenderPacket

    for key in (None, KEY):
        request = stamp.build_request(7, NOW_NS, 1, SSID, key=key)
        answer = stamp.build_answer(
            stamp.parse_request(request, key),
            sequence=7,
            transmitted_ns=NOW_NS,
            received_ns=NOW_NS,
            ttl=255,
            error=1,
            key=key,
        )
        mode = "authenticated" if key else "unauthenticated"
        ours = _each_us(partial(stamp.build_request, 7, NOW_NS, 1, SSID, key=key), 20_000)
        theirs = None if key else _each_us(lambda: bytes(SenderPacket(seq=7, ts=NOW_NS / 1e9, ssid=SSID)), 200)
        yield _codec_row(f"build a sender's packet, {mode}", ours, theirs)
        ours = _each_us(partial(stamp.parse_answer, answer, key), 20_000)
        theirs = None if key else _each_us(partial(ReflectorPacket, answer), 200)
        agreed = None if key else ReflectorPacket(answer).seq_sender == stamp.parse_answer(answer).sender_sequence
        yield _codec_row(f"parse an answer, {mode}", ours, theirs, agreed)


def _each_us(call: Callable[[], object], number: int) -> float:
    return median(timeit.repeat(call, number=number, repeat=5)) / number * 1e6


def _codec_row(name: str, ours: float, theirs: float | None, correct: bool | None = None) -> Row:
    return Row(
        area="stamp",
        name=name,
        ours=round(ours, 2),
        unit="µs",
        peer=SCAPY if theirs else None,
        theirs=round(theirs, 1) if theirs else None,
        ratio=round(theirs / ours) if theirs else None,
        correct=correct,
        note="" if theirs else "scapy has no authenticated format",
    )


def _reflector(key: bytes | None) -> Row:
    """Packets for each second of a core's time: on a busy machine the load may be too slow to fill the core."""
    mode, least = ("authenticated", 40_000) if key else ("unauthenticated", 60_000)
    runs = []
    right = True
    for _ in range(times(RUNS)):
        with _responder(key) as (process, port, files):
            before = _cpu_s(process)
            found = _load(port, key, files)
            runs.append((found["answered"], found["seconds"], _cpu_s(process) - before))
        right = right and (found["answered"], found["wrong"]) == (PACKETS, 0)
    per_core_s = median(answered / cpu for answered, _, cpu in runs)
    wall = ", ".join(f"{answered / wall:.0f}/s at {100 * cpu / wall:.0f} %" for answered, wall, cpu in runs)
    return Row(
        area="stamp",
        name=f"reflector, {mode}",
        ours=round(per_core_s),
        unit="packets per core-second",
        target=f"≥ {least}",
        met=per_core_s >= least,
        correct=right,
        note=f"every answer checked; by the wall clock {wall} of the core",
    )


def _load(port: int, key: bytes | None, files: Path) -> dict[str, float]:
    """What the load generator measured, in a separate process on the last core."""
    words = ["127.0.0.1", str(port), str(PACKETS), str(_cores()[-1]), *([str(files / "key")] if key else [])]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", *words], capture_output=True, check=True, timeout=120
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _flood() -> Iterator[Row]:
    """Memory of the responder before and after packets from many ports, many addresses, and as many as it remembers."""
    with _responder(None) as (process, port, _):
        _send_from([("127.0.0.1", 0)] * 100, port)
        before = _rss(process)
        growth = []
        most = [(f"127.77.{number >> 8}.{number & 255}", 0) for number in range(ADDRESSES)] * PORTS
        floods = (
            [("127.0.0.1", 0)] * FLOOD,
            [(f"127.{number >> 8}.{number & 255}.9", 0) for number in range(FLOOD)],
            *(() if quick() else (most, most)),
        )
        for sources in floods:
            _send_from(sources, port)
            growth.append((_rss(process) - before) / MIB)
        served = _is_served(port)
    names = (f"{FLOOD} ports", f"{FLOOD} addresses", f"{ADDRESSES} addresses × {PORTS} ports", "the same again")
    for name, mebibytes, limit in zip(names, growth, (8, 16, 64, 64), strict=False):
        yield Row(
            "stamp",
            f"memory after a flood from {name}",
            round(mebibytes, 1),
            "MiB more",
            target=f"≤ {limit} MiB",
            met=mebibytes <= limit,
            correct=served,
            note="a known peer is still served" if served else "",
        )


def _send_from(sources: list[tuple[str, int]], port: int) -> None:
    """A packet from each source, and now and then an exchange so that the responder keeps up."""
    with _link(port) as link:
        for number, source in enumerate(sources):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
                each.bind(source)
                each.sendto(stamp.build_request(0, NOW_NS, 1, SSID), ("127.0.0.1", port))
            if number % 50 == 49:
                _exchange(link)


def _amplification() -> Row:
    """Bytes out for bytes in, of all that a stranger, a rubbish sender and an unproven peer can send."""
    dice = random.Random(7)
    kinds: list[Callable[[], bytes]] = [
        lambda: stamp.build_request(dice.randrange(1 << 32), NOW_NS, 1, SSID),
        lambda: stamp.build_request(dice.randrange(1 << 32), NOW_NS, 1, SSID, key=KEY),
        lambda: probe.MAGIC + dice.randbytes(8),
        lambda: probe.encode(
            probe.Message(dice.choice(list(probe.Kind)), b"12345678", 1, sizes=(1400,) * dice.randrange(10))
        ),
        lambda: b"",
    ]
    came_in = went_out = 0
    with _responder(None) as (_, port, _), _link(port) as link:
        for _ in range(3000):
            data = dice.choice(kinds)() + dice.randbytes(dice.randrange(600))
            link.send(data)
            came_in += len(data)
            answered, exchanged = _exchange(link)
            went_out += answered
            came_in += exchanged
    return Row(
        "stamp",
        "amplification to the unproven",
        round(went_out / came_in, 3),
        "bytes out per byte in",
        target="≤ 1",
        met=went_out <= came_in,
        correct=went_out > 0,
    )


def _exchange(link: socket.socket) -> tuple[int, int]:
    """Everything that comes up to the answer to a packet sent now: bytes that came, bytes that were sent."""
    number = int.from_bytes(os.urandom(4))
    sent = link.send(stamp.build_request(number, NOW_NS, 1, SSID + 1))
    came = 0
    while True:
        answer = link.recv(65_535)
        came += len(answer)
        if len(answer) == stamp.UNAUTHENTICATED_BYTES and stamp.parse_answer(answer).sender_sequence == number:
            return came, sent


def _is_served(port: int) -> bool:
    with _link(port) as link:
        return _exchange(link)[0] > 0


def _link(port: int) -> socket.socket:
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.settimeout(20)
    link.connect(("127.0.0.1", port))
    return link


@contextmanager
def _responder(key: bytes | None) -> Iterator[tuple[int, int, Path]]:
    """A responder on the first core: its process id, its port, and a folder with its key."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "key").write_bytes(KEY)
        words = ["--bind", "127.0.0.1:0", "--allow", "127.0.0.0/8", "--max-rate", "10000000"]
        words += ["--key-file", f"{folder}/key"] if key else []
        command = [sys.executable, "-m", "preflight", "responder", *words]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder
        ) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline().rpartition(":")[2])
                os.sched_setaffinity(process.pid, {_cores()[0]})
                yield process.pid, port, Path(folder)
            finally:
                process.terminate()


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _cpu_s(process: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss(process: int) -> int:
    """Bytes of memory that a process has resident."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
