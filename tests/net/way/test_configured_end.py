"""The name in a tunnel's file is looked up again where nothing has answered, and nowhere else."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from preflight.model.overlay import ConfiguredEnd, ConfiguredPeer, ConfiguredTunnel, OverlayState
from preflight.model.peer import Peer
from preflight.net.way import configured_end
from preflight.proto.way.observers import Record
from tests.proto.way.seeing import KEY_B, B, peer, state

FILE = "/etc/wireguard/wg0.conf"
NAMED = replace(
    state(peer()), configured=ConfiguredTunnel(FILE, peers=(ConfiguredPeer(KEY_B, endpoint="localhost:51820"),))
)


def looked_up(monkeypatch: pytest.MonkeyPatch, tunnel: OverlayState, answered: int) -> ConfiguredEnd | None:
    """The end in the record of a burst."""
    monkeypatch.setattr(
        configured_end, "replace", lambda one, **new: SimpleNamespace(**vars(one) | new) if _is_record(one) else
        replace(one, **new),
    )  # fmt: skip
    values = {"tunnel": tunnel, "peer": Peer(B, "b"), "stats": SimpleNamespace(answered=answered), "configured": None}
    record = cast("Record", SimpleNamespace(**values))
    return asyncio.run(configured_end.with_configured_end(record)).configured


def _is_record(one: Any) -> bool:
    return isinstance(one, SimpleNamespace)


def test_a_silent_peer_s_name_is_looked_up_as_programs_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the system's own look-up, hosts file included, for that is what the tunnel's tool would use."""
    found = looked_up(monkeypatch, NAMED, 0)
    assert found is not None
    assert found.host == "localhost"
    assert {"127.0.0.1", "::1"} & set(found.addresses)


def test_nothing_is_looked_up_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects resolvers from questions that nobody needs."""
    assert looked_up(monkeypatch, NAMED, 1) is None
    assert looked_up(monkeypatch, state(peer()), 0) is None
