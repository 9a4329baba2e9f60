"""Starting a responder at a peer by the user's own ssh, for one run: the processes around `proto.responder.by_ssh`."""

import asyncio
import os
import shlex
import socket
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TypeVar

from preflight import programs
from preflight.model.event import Tell, silent
from preflight.model.host_port import join_host_port
from preflight.model.peer import Peer
from preflight.net import udp
from preflight.programs import python_file
from preflight.proto.responder.by_ssh import Reached, Ready, Refused, command, question, read_line, read_reached, stream
from preflight.proto.responder.by_ssh import refusal as explained

T = TypeVar("T")

START_S = 15.0
"""For everything until the responder listens: over a slow way the pack alone takes seconds."""
ASK_S = 3.0
END_S = 3.0
SAID_S = 0.5
"""How long to wait for the last words of an ssh that has ended; a master connection of the user may keep them open."""
MOST_ERRORS = 16_384
MOST_LINES = 200


@dataclass(frozen=True)
class Means:
    """What starting takes. config: another configuration of ssh than the user's. pack: the responder as one file.

    key: of this run; `repr` hides it. own_port: where this node hears hellos. life_s: when a responder ends by itself.
    load: whether it is also the remote end of load.
    """

    config: str | None
    pack: bytes
    key: bytes
    own_port: int
    life_s: float
    load: bool = False

    def __repr__(self) -> str:
        return f"Means(config={self.config!r}, life_s={self.life_s})"


class Borrowed:
    """A responder at a peer that listens until `end`, or until this process is gone."""

    def __init__(self, process: Process, ready: Ready, readers: "Sequence[asyncio.Task[object]]", tell: Tell) -> None:
        self.ready = ready
        self._process = process
        self._readers = readers
        self._tell = tell

    async def end(self) -> bool:
        """End it; whether it said so itself. If not, it ends when the connection does, or when its time is over."""
        code = await _wind_up(self._process, self._readers)
        self._tell(monotonic(), "ended", code=code)
        return code == 0


async def borrow(peer: Peer, means: Means, tell: Tell = silent) -> Borrowed | Refused:
    """Start a responder on a peer's address. What the network and the host there do is data."""
    ssh = programs.find("ssh")
    if ssh is None:
        return Refused("there is no ssh on this node")
    destination = peer.ssh or peer.target
    if destination.startswith("-"):
        return Refused("its name begins with a hyphen, which ssh takes for an option")
    reached = await _where(ssh, destination, means.config)
    if reached is not None and reached.plain and not peer.ssh and not await _resolves(reached):
        # No host of the configuration and no name in DNS: what the settings say of the peer is its address.
        destination = peer.address
        reached = await _where(ssh, destination, means.config)
    small = ["-o", f"ProxyCommand={_small_segments()}", "-o", "ProxyUseFdpass=yes"] if reached and reached.plain else []
    tell(monotonic(), "started", destination=destination, small_segments=bool(small))
    process = await _start(command(ssh, destination, means.config, more=small))
    return await _until_ready(process, peer, means, tell)


async def _where(ssh: str, destination: str, config: str | None) -> Reached | None:
    """What `ssh -G` says; None where it fails."""
    process = await _start(question(ssh, destination, config))
    said = await _within(ASK_S, process.communicate())
    if said is None:
        await _wind_up(process, ())
    return read_reached(said[0].decode("utf-8", "replace")) if said and process.returncode == 0 else None


async def _resolves(reached: Reached) -> bool:
    loop = asyncio.get_running_loop()
    try:
        return bool(await _within(ASK_S, loop.getaddrinfo(reached.host, None, type=socket.SOCK_STREAM)))
    except (OSError, UnicodeError):
        return False


def _small_segments() -> str:
    """The command for ssh, which expands %h and %p in it."""
    own = python_file(Path(__file__).with_name("small_segments.py"))
    return f"{shlex.join(own).replace('%', '%%')} %h %p"


async def _start(words: Sequence[str]) -> Process:
    """In a session without a terminal, so that no ssh on the way can ask anyone; nor does a Ctrl-C reach it."""
    environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    return await asyncio.create_subprocess_exec(
        *words, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, start_new_session=True
    )


async def _until_ready(process: Process, peer: Peer, means: Means, tell: Tell) -> Borrowed | Refused:
    errors = bytearray()
    hearing, sending = asyncio.create_task(_hear(process, errors)), asyncio.create_task(_send(process, peer, means))
    borrowed = False
    try:
        found = await _within(START_S, _answer(process, peer))
        if isinstance(found, Ready):
            tell(monotonic(), "listening", address=found.address, port=found.port)
            borrowed = True
            return Borrowed(process, found, (hearing, asyncio.create_task(_drain(process))), tell)
        await _within(SAID_S, asyncio.shield(hearing))
        refused = found or explained(errors.decode("utf-8", "replace"), process.returncode)
        tell(monotonic(), "refused", because=refused.why)
        return refused
    finally:
        if not borrowed:  # also where the run is interrupted now
            await _wind_up(process, (hearing, sending))


async def _within(seconds: float, what: Awaitable[T]) -> T | None:
    """Its result, or None if it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await what
    except TimeoutError:
        return None


async def _send(process: Process, peer: Peer, means: Means) -> None:
    assert process.stdin is not None
    try:
        asker = [join_host_port(udp.source_address(peer.address, peer.responder_port), means.own_port)]
    except OSError:  # without a way to the peer nobody hears its hellos
        asker = []
    data = stream(
        means.pack,
        address=peer.address,
        port=peer.responder_port,
        key=means.key,
        askers=asker,
        life_s=means.life_s,
        load=means.load,
    )
    with suppress(ConnectionError):  # it has ended, and its answer says why
        process.stdin.write(data)
        await process.stdin.drain()


async def _answer(process: Process, peer: Peer) -> Ready | Refused | None:
    """The first line that is the responder's; None if there is none."""
    assert process.stdout is not None
    for _ in range(MOST_LINES):
        try:
            line = await process.stdout.readline()
        except ValueError:  # a line without an end is not the responder's
            return None
        if not line:
            await process.wait()
            return None
        found = read_line(line.decode("utf-8", "replace"), peer.address, peer.target)
        if found is not None:
            return found
    return None


async def _hear(process: Process, errors: bytearray) -> None:
    """Collect what comes on standard error, up to a limit, and read the rest too: a full pipe would stop ssh."""
    assert process.stderr is not None
    while data := await process.stderr.read(4096):
        errors += data[: MOST_ERRORS - len(errors)]


async def _drain(process: Process) -> None:
    assert process.stdout is not None
    while await process.stdout.read(4096):
        pass


async def _wind_up(process: Process, readers: "Sequence[asyncio.Task[object]]") -> int | None:
    """Close its standard input, which ends the responder; then ssh itself, if it does not end. Its exit code."""
    if process.stdin is not None:
        process.stdin.close()
    await _within(END_S, process.wait())
    for end in (process.terminate, process.kill):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                end()
            await _within(END_S, process.wait())
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return process.returncode
