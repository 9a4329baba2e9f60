"""Hearing the hellos of a silent peer: on the port they come to, or from the responder that has this port."""

import asyncio
import errno
import secrets
import socket
from time import monotonic

from preflight.model.event import Listener, telling
from preflight.model.heard import HelloReport
from preflight.net import udp
from preflight.net.drive import Driving
from preflight.proto.responder.hello import INTERVAL_S, NONCE_BYTES, Ends, HelloListener
from preflight.proto.responder.reach import HELLO_AFTER_S, Way, forward_by_hello

WAIT_S = HELLO_AFTER_S + INTERVAL_S + 0.5
"""Within this time at least one hello comes that counts, or misses, the packets sent before."""


class UnheardError(Exception):
    """No hello can be heard; the text says why."""


class HelloWatch:
    """Listens from now on; `close` it. began: when the first packet leaves, by the steady clock.

    Raises UnheardError if no hello can be heard.
    """

    def __init__(self, ends: Ends, key: bytes | None, began: float, listener: Listener | None = None) -> None:
        if key is None:
            raise UnheardError("hellos are signed, and this node has no key (responder.key_file)")
        self._ends = ends
        self._until = began + WAIT_S
        self._socket, self._asking = _open(ends)
        tell = telling(listener, "responder.hello", ends.peer)
        nonce = secrets.token_bytes(NONCE_BYTES)
        self._hellos = HelloListener(ends, key, began=began, nonce=nonce, by_responder=self._asking, tell=tell)
        self._turned = asyncio.Event()
        self._driving = Driving(self._hellos, self._socket, tell=tell, after_turn=self._turned.set)

    def close(self) -> None:
        """Stop listening."""
        self._driving.stop()
        self._socket.close()

    async def wait(self) -> None:
        """Until a hello shows whether this node's packets arrive; at most as long as one may take to come."""
        self._hellos.ask(monotonic())
        self._driving.turn()
        try:
            async with asyncio.timeout(self._until - monotonic()):
                while forward_by_hello(self.report()) is Way.UNKNOWN:
                    self._turned.clear()
                    await self._turned.wait()
        except TimeoutError:
            return
        finally:
            self._hellos.stop_asking()

    def report(self) -> HelloReport | None:
        """The newest hello that came after the first packet had left; None before the first."""
        return self._hellos.result

    def unheard(self) -> str:
        """Why there is no report."""
        place = f"UDP port {self._ends.port} of {self._ends.local}"
        if dropped := self._hellos.dropped:
            reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(dropped.items()))
            return f"hellos came to {place} and were dropped ({reasons})"
        if self._asking and not self._hellos.answered:
            return f"the program that has {place} gives no hellos; is it this node's responder, with the same key?"
        return f"no hello of {self._ends.peer} came to {place} within {WAIT_S:g} s"


def _open(ends: Ends) -> tuple[socket.socket, bool]:
    """A socket for the peer's hellos, or towards the responder that has their port; and whether it is the latter."""
    try:
        return _listening(ends), False
    except PermissionError:
        raise UnheardError(f"hearing hellos on UDP port {ends.port} needs root or CAP_NET_BIND_SERVICE") from None
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise _impossible(ends, error) from None
    try:
        return udp.open_towards(ends.local, ends.port), True
    except OSError as error:
        raise _impossible(ends, error) from None


def _listening(ends: Ends) -> socket.socket:
    listening = udp.open_udp(ends.local, ends.port, shared=True)
    try:
        # Connected, so that the kernel still refuses what others send to this port, as if nobody listened.
        listening.connect((ends.peer, ends.peer_port))
    except BaseException:
        listening.close()
        raise
    return listening


def _impossible(ends: Ends, error: OSError) -> UnheardError:
    name = udp.error_name(error.errno or 0)
    return UnheardError(f"hellos cannot be heard on UDP port {ends.port} of {ends.local} ({name})")
