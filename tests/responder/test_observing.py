"""When a responder looks at an asker's packets, and that a look which fails ends nothing. What it sees: tests/lab."""

import asyncio
import time
from collections.abc import Iterator, Sequence

import pytest

from preflight.model.kernel import NeedsPlatform
from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer
from preflight.net import udp
from preflight.proto.pmtu.wire import ProbeServer
from preflight.proto.responder.admission import Admission, Limits
from preflight.proto.responder.mailbox_probe import ProbeRequest
from preflight.proto.stamp.reflector import SessionReflector
from preflight.responder.core import ResponderCore
from preflight.responder.observing import REQUEST_BURST, Observers
from preflight.responder.serve import ServedSocket

REQUEST = ProbeRequest(
    nonce=bytes(16),
    created_unix_ms=1,
    sender="1",
    receiver="2",
    address="127.0.0.1",
    port=40000,
    ssid=7,
    count=10,
    interval_ms=10,
    to="127.0.0.1",
)


class Tunnels:
    """Reads this host's tunnels as a test wants, and counts how often."""

    def __init__(self, *answers: OverlayState | Exception | None) -> None:
        self._answers = answers
        self.asked: list[tuple[Sequence[str], str | None]] = []

    async def read(self, addresses: Sequence[str], interface: str | None) -> OverlayState | None:
        """The next answer, the last one again and again."""
        answer = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append((addresses, interface))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def listener() -> Iterator[ServedSocket]:
    """A responder's socket on a loopback address."""
    core = ResponderCore(
        admission=Admission((), Limits(), 0.0),
        reflector=SessionReflector(),
        probes=ProbeServer(None, b"secret" * 4),
        key=None,
    )
    with udp.open_udp("127.0.0.1") as opened:
        yield ServedSocket(opened, core)


def looks(listener: ServedSocket, tunnels: Tunnels, *, times: int = 1, peers: tuple[Peer, ...] = ()) -> list[bool]:
    """Whether there was something to look at, each time."""
    observers = Observers([listener], tunnels.read, peers, time.monotonic())

    async def look() -> list[bool]:
        found = []
        for _ in range(times):
            async with observers.look(REQUEST) as looking:
                found.append(looking is not None)
        return found

    return asyncio.run(look())


@pytest.mark.parametrize("trouble", [OSError("no netlink"), NeedsPlatform("Linux only"), None])
def test_a_look_that_fails_ends_nothing(listener: ServedSocket, trouble: Exception | None) -> None:
    """Protects the responder: an asker gets the plain report where this host cannot be read."""
    assert looks(listener, Tunnels(trouble)) == [False]


def test_an_address_outside_every_tunnel_is_not_looked_at(listener: ServedSocket) -> None:
    """The loopback address belongs to no tunnel, so nothing on this host is read for it but its interfaces."""
    overlay = OverlayState(product="wireguard", interface="wg0", up=True, mtu=1420)
    tunnels = Tunnels(overlay)
    assert looks(listener, tunnels) == [False]
    assert tunnels.asked == [(["127.0.0.1"], None)]


def test_many_askers_are_not_all_looked_at(listener: ServedSocket) -> None:
    """Protects those who wait: looking takes a second, so it is for a few, and nothing is read for the others."""
    tunnels = Tunnels(None)
    looks(listener, tunnels, times=10)
    assert len(tunnels.asked) == REQUEST_BURST


def test_another_members_address_is_not_looked_at(listener: ServedSocket) -> None:
    """The settings say whose mailbox it is: an asker does not learn of others' packets."""
    tunnels = Tunnels(None)
    assert looks(listener, tunnels, peers=(Peer("127.0.0.1", "c", agent_id="3"),)) == [False]
    assert tunnels.asked == []
