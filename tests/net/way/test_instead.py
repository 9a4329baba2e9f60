"""Who answers in the place of a peer whose address nobody has: asked are the tunnel's peers, and few of them."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from preflight.model.peer import Peer
from preflight.model.tapped import EchoAnswer
from preflight.net.stamp.path import PathProbes
from preflight.net.way import instead
from preflight.proto.way.observers import Record
from tests.proto.way.seeing import KEY_C, THIRD, B, C, peer, state

WRONG, OWN = B, "10.66.0.20"
TUNNEL = state(peer(address=OWN), peer(KEY_C, C, f"{THIRD}:51820"))


class Path:
    """Replaces the probes of a run: a responder runs at one address."""

    def __init__(self) -> None:
        self.asked = list[str]()

    async def stamp(self, peer: Peer, **options: Any) -> SimpleNamespace:
        """Like PathProbes."""
        self.asked.append(peer.address)
        return SimpleNamespace(answered=int(peer.address == OWN))


def asked(monkeypatch: pytest.MonkeyPatch, path: Path, answered: int, kind: int) -> Record:
    """The record of a burst, with who answers."""

    async def ask_echo(address: str) -> EchoAnswer:
        return EchoAnswer(kind=kind, code=0, source=address)

    monkeypatch.setattr(instead, "ask_echo", ask_echo)
    now = max(each.last_handshake_unix_s or 0 for each in TUNNEL.peers)
    monkeypatch.setattr(instead, "time", SimpleNamespace(time=lambda: now))
    stats = SimpleNamespace(answered=answered)
    values = {"tunnel": TUNNEL, "peer": Peer(WRONG, "b"), "others": (C,), "heard": (), "stats": stats}
    monkeypatch.setattr(instead, "replace", _replaced)
    return asyncio.run(instead.with_living(cast("Record", SimpleNamespace(**values)), cast("PathProbes", path)))


def _replaced(one: Any, **changes: Any) -> Any:
    if isinstance(one, Peer):
        return Peer(changes["address"], one.name)
    return SimpleNamespace(**(vars(one) | changes))


def test_the_peers_that_answer_at_their_own_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """An echo goes to who may lack the address, a question for a responder also to the control host."""
    path = Path()
    found = asked(monkeypatch, path, 0, 0)
    assert (found.living, found.answering) == (frozenset((OWN,)), (OWN,))
    assert path.asked == [OWN, C]
    refused = asked(monkeypatch, Path(), 0, 3)
    assert (refused.living, refused.silent) == (frozenset(), frozenset((OWN,)))


def test_a_peer_that_answers_is_looked_for_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects healthy runs: nothing is sent."""
    path = Path()
    found = asked(monkeypatch, path, 6, 0)
    assert not hasattr(found, "living")
    assert path.asked == []
