"""Responders as processes on loopback addresses, and the packets that are sent to them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from preflight.proto.stamp import wire as stamp

KEY = b"a key that only tests know"
SENTINEL = 4711
UNLIMITED = ("--max-rate", "1000000")
"""For a test that sends as fast as it can, and is not about rates."""


@dataclass
class Running:
    """A responder that is ready."""

    process: subprocess.Popen[str]
    places: list[tuple[str, int]]

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Exit code, and what it wrote to stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


INSTALLED = (sys.executable, "-m", "preflight", "responder")


def command(*words: str) -> list[str]:
    """The program's command line."""
    return [*INSTALLED, *words]


def environment() -> dict[str, str]:
    """Nothing of the caller's cluster."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}


Start = Callable[..., Running]


@contextmanager
def starting(folder: Path, program: Sequence[str] = INSTALLED) -> Iterator[Start]:
    """Starts responders on loopback addresses, in a folder; they end with it. program: a responder's command."""
    running: list[Running] = []

    def run(*words: str, addresses: tuple[str, ...] = ("127.0.0.1",)) -> Running:
        binds = [word for address in addresses for word in ("--bind", address)]
        process = subprocess.Popen(
            [*program, *(f"{word}:0" if word in addresses else word for word in binds), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd=folder,
        )
        assert process.stdout
        places = []
        for _ in addresses:
            line = process.stdout.readline()
            assert line.startswith("listening on udp://"), line
            address, _, port = line.strip().removeprefix("listening on udp://").rpartition(":")
            places.append((address.strip("[]"), int(port)))
        running.append(Running(process, places))
        return running[-1]

    try:
        yield run
    finally:
        for each in running:
            each.process.kill()
            each.process.communicate(timeout=30)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts responders on loopback addresses."""
    with starting(tmp_path) as run:
        yield run


def client(place: tuple[str, int]) -> socket.socket:
    """A socket connected to a responder."""
    made = socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(20)
    made.connect(place)
    return made


def request(sequence: int = 0, key: bytes | None = None) -> bytes:
    """A session-sender's packet of now."""
    return stamp.build_request(sequence, time.time_ns(), 1, 7, key=key)


def is_sentinel(data: bytes, number: int) -> bool:
    """Whether it answers the sentinel of this number."""
    answer = stamp.parse_answer(data)
    return (answer.ssid, answer.sender_sequence) == (SENTINEL, number)


def exchange(link: socket.socket, datagrams: list[bytes]) -> tuple[int, int]:
    """Send all, a few at a time so that no buffer overflows; how many bytes went in and came out."""
    came_in = went_out = 0
    for start in range(0, len(datagrams), 20):
        for data in datagrams[start : start + 20]:
            came_in += link.send(data)
        came_in += link.send(stamp.build_request(start, time.time_ns(), 1, SENTINEL))
        while True:
            answer = link.recv(65_535)
            went_out += len(answer)
            if len(answer) == 44 and is_sentinel(answer, start):
                break
    return came_in, went_out
