"""`--via ssh`: responders that this run starts on its peers by the user's own ssh, and ends with it."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from preflight import codes
from preflight.api import Direction, Peer, Result, Status
from preflight.cli.request import Request
from preflight.engine.plan import LOAD
from preflight.model.event import Listener, telling
from preflight.model.remedy import Remedies, look
from preflight.net.responder.by_ssh import Borrowed, Means, borrow
from preflight.proto.responder.by_ssh import Refused
from preflight.responder.pack import pack
from preflight.settings.load import Settings

CHECK = "run.via-ssh"
AT_ONCE = 16
USUAL_S = 900.0
"""How long a responder lives at most where the run has no time limit."""
SPARE_S = 60.0


@dataclass
class Lent:
    """What was lent to the run. ports: of the responders that listen, by address; results: one a peer, at the end."""

    ports: dict[str, int] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def at(self, peers: Sequence[Peer]) -> tuple[Peer, ...]:
        """The peers, with the ports of these responders."""
        return tuple(replace(peer, responder_port=self.ports.get(peer.address, peer.responder_port)) for peer in peers)

    def known_to(self, settings: Settings) -> Settings:
        """The settings, with whose packets the key of the run signs."""
        return replace(settings, secrets=replace(settings.secrets, lent=frozenset(self.ports)))


def run_key() -> bytes:
    """A new key for one run, as text: so it can be searched for in everything that the run writes."""
    return secrets.token_urlsafe(32).encode("ascii")


@asynccontextmanager
async def lending(
    request: Request,
    settings: Settings,
    peers: Sequence[Peer],
    listener: Listener | None,
    interrupted: asyncio.Event,
) -> AsyncGenerator[Lent, None]:
    """Responders on the peers while the body runs, if the run wants them; afterwards there is one result a peer."""
    lent, means = Lent(), _means(request, settings)
    if means is None:
        yield lent
        return
    slots, began = asyncio.Semaphore(AT_ONCE), datetime.now(UTC)

    async def start(peer: Peer) -> Borrowed | Refused:
        async with slots:
            return await borrow(peer, means, telling(listener, "responder.by_ssh", peer.target))

    starting = [asyncio.create_task(start(peer)) for peer in peers]
    try:
        found = await _all(starting, interrupted)
        lent.ports = {peer.address: each.ready.port for peer, each in _borrowed(peers, found)}
        yield lent
    finally:
        for task in starting:
            task.cancel()
        borrowed = _borrowed(peers, await asyncio.gather(*starting, return_exceptions=True))
        ends = await asyncio.gather(*(each.end() for _, each in borrowed))
    states = {peer.address: ended for (peer, _), ended in zip(borrowed, ends, strict=True)}
    lent.results = [
        replace(_result(peer, each, states.get(peer.address, True), means.life_s), started_at=began)
        for peer, each in zip(peers, found, strict=True)
    ]


def _means(request: Request, settings: Settings) -> Means | None:
    """None where the run is not to start any."""
    key = settings.secrets.run_key
    if request.via != "ssh" or key is None:
        return None
    config = str(request.ssh_config) if request.ssh_config is not None else None
    life_s = (request.timeout or USUAL_S) + request.wait + SPARE_S
    load = LOAD in request.tags or any(glob.startswith("perf.") for glob in request.named)
    return Means(config, pack(), key, settings.responder.port, life_s, load)


async def _all(
    starting: Sequence[asyncio.Task[Borrowed | Refused]], interrupted: asyncio.Event
) -> list[Borrowed | Refused]:
    """What came of each; a run that is interrupted waits for none."""
    stopping = asyncio.create_task(interrupted.wait())
    waiting: set[asyncio.Future[Any]] = {stopping, asyncio.gather(*starting)}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    return [task.result() if task.done() else Refused("the run was interrupted") for task in starting]


def _borrowed(peers: Sequence[Peer], found: Sequence[object]) -> list[tuple[Peer, Borrowed]]:
    return [(peer, each) for peer, each in zip(peers, found, strict=True) if isinstance(each, Borrowed)]


def _result(peer: Peer, found: Borrowed | Refused, ended: bool, life_s: float) -> Result:
    name = peer.target
    if isinstance(found, Refused):
        message = f"ssh started no responder on {name}: {found.why}; the run went on without its word"
        return _warned(peer, message, by_hand(peer))
    if not ended:
        message = (
            f"the responder that ssh started on {name} was not seen to end: it ends when its connection does, "
            f"and after {life_s:.0f} s at the latest"
        )
        return _warned(peer, message, ())
    message = f"ssh started a responder on {name} for this run, on UDP port {found.ready.port}, and it has ended"
    return Result(
        check=CHECK, category="run", target=name, direction=Direction.LOCAL, status=Status.PASS, message=message
    )


def _warned(peer: Peer, message: str, remedies: Remedies) -> Result:
    return Result(
        check=CHECK,
        category="run",
        target=peer.target,
        direction=Direction.LOCAL,
        status=Status.WARN,
        code=codes.RUN_VIA_SSH,
        message=message,
        remedies=remedies,
    )


def by_hand(peer: Peer) -> Remedies:
    """The same connection by hand, where ssh may ask."""
    return look(f"ssh {peer.ssh or peer.target} python3 --version")
