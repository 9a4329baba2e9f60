"""What comes just as nobody reads any more."""

import asyncio
import socket
from contextlib import nullcontext
from typing import Any

import pytest

from preflight.model.overlay import OverlayState
from preflight.model.path import AskResult, StampStats
from preflight.model.peer import Peer
from preflight.net.control.client import ControlClient
from preflight.net.stamp import path
from preflight.net.stamp.inquiry import Inquiry
from preflight.net.stamp.path import PathProbes
from preflight.settings.load import Settings

LO = OverlayState(product="generic", interface="lo", up=True, mtu=None)


class Watch:
    """Has seen packets come in."""

    def seen(self) -> int:
        """How many."""
        return 14


@pytest.mark.parametrize(("comes", "found"), [(True, (None, 3)), (False, (14, 0))])
def test_what_comes_as_the_inquiry_ends_was_not_dropped_here(
    monkeypatch: pytest.MonkeyPatch, comes: bool, found: tuple[int | None, int]
) -> None:
    """A tunnel may get its session just then: a firewall drops nothing that nobody has read yet."""

    async def unread(self: Inquiry) -> AskResult:
        if comes:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind(("127.0.0.1", 0))
                sender.sendto(b"late", self._local)
        return AskResult(sent=10, answered=0)

    async def stamp(self: PathProbes, peer: Peer, **_: Any) -> StampStats:
        return StampStats(sent=3, answered=3)

    monkeypatch.setattr(path, "_watching", lambda *_: nullcontext((Watch(), "")))
    monkeypatch.setattr(Inquiry, "run", unread)
    monkeypatch.setattr(PathProbes, "stamp", stamp)
    control = ControlClient(None, token=None, submitter_token=None, environment={})
    asked = asyncio.run(PathProbes(Settings(), control).ask(Peer("127.0.0.1", "b"), LO))
    assert (asked.on_interface, asked.answered) == found
