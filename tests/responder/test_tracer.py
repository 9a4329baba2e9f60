"""Traces by a real responder: to whom, from where, and what the asker gets to know."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from preflight.api import Peer
from preflight.model.return_path import ReverseTraceroute
from preflight.net import udp
from preflight.net.responder.reverse_trace import ask_for_trace

KEY = b"a key that only tests know"
Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a responder on an address; returns its port. Each must end by SIGTERM with exit code 0."""
    running: list[subprocess.Popen[str]] = []
    (tmp_path / "key").write_bytes(KEY)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}

    def run(address: str, *words: str, lowered: Sequence[str] = ()) -> int:
        process = subprocess.Popen(
            [*lowered, sys.executable, "-m", "preflight", "responder", "--bind", f"{address}:0", *words],
            stdout=subprocess.PIPE,
            text=True,
            env=environment | ({"HOME": "/"} if lowered else {}),
            cwd="/" if lowered else tmp_path,
        )
        running.append(process)
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("listening on udp://"), line
        return int(line.rpartition(":")[2])

    yield run
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 0


def ask(address: str, port: int, key: bytes | None = None) -> ReverseTraceroute | None:
    """What the responder reports."""
    return asyncio.run(ask_for_trace(Peer(address, "b", port), key))


@pytest.mark.parametrize(
    ("bind", "address", "allow"),
    [
        ("127.0.0.1", "127.0.0.1", "127.0.0.0/8"),
        ("[::1]", "::1", "::1"),
        ("0.0.0.0", "127.0.0.7", "127.0.0.0/8"),
        ("[::]", "::1", "::1"),
    ],
)
def test_the_return_path(start: Start, bind: str, address: str, allow: str) -> None:
    """Both families, also from the address that was asked of a wildcard socket; without any privilege."""
    reported = ask(address, start(bind, "--allow", allow))
    assert reported is not None
    assert [(hop.address, hop.reached) for hop in reported.trace.hops] == [(reported.here, True)]
    assert (reported.forward_hops, reported.reverse_hops) == (1, 1)
    assert (reported.way.arrival, reported.way.elsewhere) == (None, False)


@pytest.mark.lab
def test_no_privilege_is_needed(start: Start) -> None:
    """The responder may be an ordinary user: it traces, and knows the way back, by what any user may ask the kernel."""
    lowered = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"]
    reported = ask("127.0.0.1", start("127.0.0.1", "--allow", "127.0.0.1", lowered=lowered))
    assert reported is not None
    assert (reported.trace.reached, reported.way.interface) == (True, "lo")


def test_who_holds_the_key_is_traced(start: Start) -> None:
    """Also a stranger; a node with another key, or none, hears nothing."""
    port = start("127.0.0.1", "--key-file", "key")
    assert ask("127.0.0.1", port, KEY) is not None
    assert ask("127.0.0.1", port, None) is None
    assert ask("127.0.0.1", port, b"another key of the tests") is None


def test_several_at_once(start: Start) -> None:
    """Each asker gets the report of its own trace, up to the rate limit of one address."""
    port = start("127.0.0.1", "--allow", "127.0.0.0/8")

    async def run() -> list[ReverseTraceroute | None]:
        return await asyncio.gather(*(ask_for_trace(Peer("127.0.0.1", "b", port), None) for _ in range(4)))

    assert all(reported is not None for reported in asyncio.run(run()))


def test_nobody_listens_or_nobody_traces() -> None:
    """A closed port and one that swallows everything give no answer, and no exception."""
    with udp.open_udp("127.0.0.1") as silent:
        port = silent.getsockname()[1]
        assert ask("127.0.0.1", port) is None
    assert ask("127.0.0.1", port) is None
    assert ask("2001:db8::1", 862) is None
