"""uvicorn behind our own listener: it limits connections, and how long a client may take for each step.

uvicorn has one time limit, between requests, and accepts connections until the process has no descriptor left
(docs/adr/0007). Here every connection has a place in `Guests` from the moment it is accepted, even during the
TLS handshake. At any time it has one deadline for the complete headers, body or answer: a byte now and then does not
extend it.
"""

import asyncio
import enum
import logging
import math
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from preflight.control.guests import Cut, Guest, Guests
from preflight.control.logs import event

_log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

KNOWN = "preflight.known"
"""The application sets this in a request's ASGI state when it accepted the bearer."""
ACCEPT_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Patience:
    """Time limits for a client in seconds, each in total and not between two bytes."""

    handshake_s: float = 10.0
    headers_s: float = 10.0
    body_s: float = 30.0
    answer_s: float = 120.0
    """To read an answer that does not fit into the buffers."""
    idle_s: float = 75.0
    """Between requests; longer than any heartbeat interval, so that nodes keep their connection."""
    farewell_s: float = 5.0
    """To read the last bytes of a closing connection."""

    @property
    def look_every_s(self) -> float:
        """How often deadlines are compared with the clock."""
        return min(1.0, self.headers_s / 4, self.farewell_s / 4)


@dataclass(frozen=True, slots=True)
class Door:
    """A listening socket and the application behind it.

    It never sees bytes that are not HTTP: `malformed` counts them, and `stamp` makes headers for the answer.
    """

    listener: socket.socket
    config: uvicorn.Config
    stamp: Callable[[], Headers] = list
    malformed: Callable[[], None] = lambda: None


class _Turn(enum.Enum):
    """The state of a connection."""

    IDLE = enum.auto()
    HEADERS = enum.auto()
    BODY = enum.auto()
    SERVER = enum.auto()


_LATE = {_Turn.IDLE: Cut.IDLE, _Turn.HEADERS: Cut.HEADERS, _Turn.BODY: Cut.BODY}


class GuardedProtocol(H11Protocol):
    """One connection of uvicorn's, with a deadline."""

    def __init__(self, door: Door, server: "GuardedServer", guest: Guest) -> None:
        super().__init__(config=door.config, server_state=server.server_state, app_state={})
        self._door = door
        self._guests = server.guests
        self._patience = server.patience
        self._guest = guest
        self._turn = _Turn.IDLE
        self._deadline = self.loop.time() + self._patience.idle_s
        self._take_by = self._gone_by = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """From here on `cut` closes the guest's transport."""
        super().connection_made(transport)
        self._guest.leave = transport.abort

    def connection_lost(self, exc: Exception | None) -> None:
        """Free its place."""
        self._guests.gone(self._guest)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """More bytes; the deadline changes if they complete the headers or body."""
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        """The answer is complete: drop the request's data, and wait for the next one."""
        self._take_by = math.inf
        self._guests.answered(self._guest, known=KNOWN in self.scope["state"])
        self.cycle.body.clear()
        super().on_response_complete()
        self._note()

    def pause_writing(self) -> None:
        """The client does not read its answer as fast as it is made."""
        super().pause_writing()
        if self._take_by is math.inf:
            self._take_by = self.loop.time() + self._patience.answer_s

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to bytes that are not HTTP."""
        self._door.malformed()
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def look(self, now_s: float) -> None:
        """Close the connection if its client is late, and abort it if the client does not even read that."""
        if self.transport.is_closing():
            self._gone_by = min(self._gone_by, now_s + self._patience.farewell_s)
            if now_s >= min(self._gone_by, self._take_by):
                self.transport.abort()
        elif now_s >= self._take_by:
            self._guests.cut(Cut.READER)
            self.transport.abort()
        elif now_s >= self._deadline:
            self._guests.cut(_LATE[self._turn])
            if self._turn is _Turn.HEADERS:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive in time")
            self.transport.close()

    def _should_upgrade(self) -> bool:
        """Refuse, without two log lines for every request from outside."""
        return False

    def _note(self) -> None:
        turn = self._whose_turn()
        if turn is not self._turn:
            self._turn = turn
            self._guest.busy = turn is _Turn.SERVER
            self._deadline = self.loop.time() + self._allowed_s(turn)

    def _whose_turn(self) -> _Turn:
        state = self.conn.their_state
        if state is h11.IDLE:
            return _Turn.HEADERS if self.conn.trailing_data[0] else _Turn.IDLE
        return _Turn.BODY if state is h11.SEND_BODY else _Turn.SERVER

    def _allowed_s(self, turn: _Turn) -> float:
        patience = self._patience
        return {
            _Turn.IDLE: patience.idle_s,
            _Turn.HEADERS: patience.headers_s,
            # The application answers 408 at the deadline; until then the client may finish a body that was already
            # refused.
            _Turn.BODY: patience.body_s + patience.farewell_s,
            _Turn.SERVER: math.inf,
        }[turn]

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer bytes that did not form a request, if an answer is still possible, and hang up."""
        if self.conn.our_state is h11.SEND_RESPONSE:  # the application waits for a body that will not come
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = text.encode("ascii")
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
                *self._door.stamp(),
            ]
            response = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode())
            for part in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(part) or b"")
        self.transport.close()


class GuardedServer(uvicorn.Server):
    """Accepts connections one by one while there is room, and reports when it is ready."""

    def __init__(
        self,
        doors: Sequence[Door],
        ready: Callable[[], None],
        guests: Guests,
        patience: Patience | None = None,
    ) -> None:
        """The first listener's configuration controls start and stop."""
        super().__init__(doors[0].config)
        self.guests = guests
        self.patience = patience or Patience()
        self._doors = doors
        self._ready = ready
        self._chores: list[asyncio.Task[None]] = []
        self._arrivals: set[asyncio.Task[None]] = set()  # the event loop does not keep a reference to its tasks

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal; the listeners own the sockets."""
        await super().serve([door.listener for door in self._doors])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Replaces uvicorn's method, which accepts every connection."""
        self.servers = []
        for door in self._doors:
            if not door.config.loaded:
                door.config.load()
            self._chores.append(asyncio.create_task(self._let_in(door)))
        self._chores.append(asyncio.create_task(self._look_around()))
        self.started = True
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners, then finish open requests."""
        for chore in self._chores:
            chore.cancel()
        await asyncio.wait(self._chores)
        await super().shutdown(sockets)

    async def _let_in(self, door: Door) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(door.listener)
            except OSError as error:
                # Probably no descriptor is left. Open connections continue and will free some.
                event(_log, logging.WARNING, "no connection can be accepted now", because=error.strerror)
                await asyncio.sleep(ACCEPT_AGAIN_S)
                continue
            guest = self.guests.admit(address[0])
            if guest is None:
                connection.close()
            else:
                arrival = loop.create_task(self._welcome(door, connection, guest))
                guest.leave = partial(_hang_up, connection)
                self._arrivals.add(arrival)
                arrival.add_done_callback(self._arrivals.discard)
            await asyncio.sleep(0)  # one for each round of the loop: open connections come before a flood

    async def _welcome(self, door: Door, connection: socket.socket, guest: Guest) -> None:
        """Hand an accepted connection to the protocol, after its TLS handshake if there is one."""
        secure = door.config.ssl
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: GuardedProtocol(door, self, guest),
                connection,
                ssl=secure,
                ssl_handshake_timeout=self.patience.handshake_s if secure else None,
                ssl_shutdown_timeout=self.patience.farewell_s if secure else None,
            )
        except OSError:  # no TLS handshake, or not in time
            self.guests.gone(guest)

    async def _look_around(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.patience.look_every_s)
            now_s = loop.time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, GuardedProtocol):
                    connection.look(now_s)


def _hang_up(connection: socket.socket) -> None:
    """End a connection that has no protocol yet; the next read sees its end."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
