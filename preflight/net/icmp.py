"""ICMP echo through icmplib; traceroute and the nudge that makes a tunnel shake hands go by UDP."""

import asyncio
import os
from ipaddress import ip_address
from socket import (
    AF_INET,
    IPPROTO_ICMP,
    MSG_DONTWAIT,
    SOCK_DGRAM,
    SOCK_RAW,
    SOL_SOCKET,
    socket,
)
from typing import Any

from preflight.model.icmp import PRIVILEGE, EchoStats, Trace
from preflight.net.traceroute import trace
from preflight.net.udp import family_of

# A raw socket receives every echo reply of the machine, so many of them overflow and lose what did arrive.
CONCURRENT_SOCKETS = 24
DISCARD_PORT = 9
SO_BINDTODEVICE = 25  # Python has the name on Linux only
ECHO_REPLIES = (0, 129)  # RFC 792, RFC 4443 section 4.2


class Icmp:
    """Echoes and traces; holds no state but the bound on raw sockets that are open at one time."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(CONCURRENT_SOCKETS)

    async def echo(
        self, address: str, *, count: int, interval_s: float, timeout_s: float, payload_bytes: int = 56
    ) -> EchoStats:
        """Send `count` echo requests `interval_s` apart and wait `timeout_s` after the last (RFC 792, RFC 4443).

        Takes a raw socket, else a ping socket where `net.ipv4.ping_group_range` allows one. Never raises for what the
        network or the kernel does: see `EchoStats.error`.
        """
        async with self._slots:
            try:
                echo_socket = open_echo_socket(address)
            except PermissionError:
                return EchoStats(0, 0, error=PRIVILEGE)
            except OSError as error:
                return EchoStats(0, 0, error=str(error))
            with echo_socket:
                return await _Burst(echo_socket, address, count, payload_bytes).run(interval_s, timeout_s)

    async def trace(self, address: str, *, max_hops: int = 12, timeout_s: float = 1.0) -> Trace:
        """The hops to an address, without privilege; see `preflight.net.traceroute`."""
        return await trace(address, max_hops=max_hops, timeout_s=timeout_s)

    def nudge(self, address: str, interface: str | None = None) -> str | None:
        """Send one empty datagram to the discard port (RFC 863), out of `interface` whatever the routes say.

        Makes a tunnel without session shake hands, and needs no privilege. Returns what the kernel objects, else None.
        """
        with socket(family_of(address), SOCK_DGRAM) as sock:
            try:
                if interface is not None:
                    sock.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, interface.encode())
                sock.sendto(b"", MSG_DONTWAIT, (address, DISCARD_PORT))
            except OSError as error:
                return os.strerror(error.errno) if error.errno else str(error)
        return None

    async def port_closed(self, address: str, port: int, *, timeout_s: float) -> bool:
        """Whether the host answers an empty datagram to a UDP port with port-unreachable; silence proves nothing."""
        loop = asyncio.get_running_loop()
        with socket(family_of(address), SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                sock.connect((address, port))
                sock.send(b"")
                await asyncio.wait_for(loop.sock_recv(sock, 1), timeout_s)
            except ConnectionRefusedError:
                return True
            except (OSError, TimeoutError):
                return False
        return False

    def raw_socket(self) -> bool:
        """Whether this process may open a raw socket (CAP_NET_RAW)."""
        try:
            socket(AF_INET, SOCK_RAW, IPPROTO_ICMP).close()
        except OSError:
            return False
        return True

    def ping_socket(self) -> bool:
        """Whether this process may open a ping socket (`net.ipv4.ping_group_range`)."""
        try:
            socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP).close()
        except OSError:
            return False
        return True


def open_echo_socket(address: str) -> Any:
    """An icmplib AsyncSocket for the address's family. Raises PermissionError, or OSError for any other reason."""
    from icmplib import AsyncSocket, ICMPSocketError, ICMPv4Socket, ICMPv6Socket, SocketPermissionError

    kind = ICMPv6Socket if ip_address(address).version == 6 else ICMPv4Socket
    try:
        try:
            return AsyncSocket(kind(privileged=True))
        except SocketPermissionError:
            return AsyncSocket(kind(privileged=False))
    except SocketPermissionError:
        raise PermissionError(f"neither a raw nor a ping socket for {address}") from None
    except ICMPSocketError as error:
        raise OSError(str(error)) from None


class _Burst:
    """One burst of echo requests: all leave in their rhythm, whether or not the ones before were answered."""

    def __init__(self, echo_socket: Any, address: str, count: int, payload_bytes: int) -> None:
        from icmplib import ICMPRequest
        from icmplib.utils import unique_identifier

        self._socket = echo_socket
        identifier = unique_identifier()
        self._requests = [ICMPRequest(address, identifier, seq, payload_size=payload_bytes) for seq in range(count)]
        self._sent_at: dict[int, float] = {}
        self._rtt_ms: dict[int, float] = {}
        self._error: str | None = None
        self._now = asyncio.get_running_loop().time

    async def run(self, interval_s: float, timeout_s: float) -> EchoStats:
        """Send all, gather what answers, and give it a last `timeout_s`."""
        receiver = asyncio.create_task(self._receive(interval_s * len(self._requests) + timeout_s))
        try:
            for index, request in enumerate(self._requests):
                if index:
                    await asyncio.sleep(interval_s)
                self._send(request)
            if self._sent_at:
                await asyncio.wait([receiver], timeout=timeout_s)
        finally:
            receiver.cancel()
            await asyncio.gather(receiver, return_exceptions=True)
        rtt_ms = tuple(self._rtt_ms[sequence] for sequence in sorted(self._rtt_ms))
        return EchoStats(len(self._sent_at), len(rtt_ms), rtt_ms, self._error)

    def _send(self, request: Any) -> None:
        from icmplib import ICMPLibError, SocketBroadcastError

        self._sent_at[request.sequence] = self._now()
        try:
            self._socket.send(request)
        except SocketBroadcastError:  # icmplib's reading of EPERM, which is what a firewall's drop on output gives
            self._refused(request, "Operation not permitted")
        except ICMPLibError as error:
            self._refused(request, str(error))

    def _refused(self, request: Any, error: str) -> None:
        del self._sent_at[request.sequence]
        self._error = error

    async def _receive(self, timeout_s: float) -> None:
        from icmplib import ICMPLibError, TimeoutExceeded

        while len(self._rtt_ms) < len(self._requests):
            try:
                reply = await self._socket.receive(timeout=timeout_s)
                self._take(reply)
            except TimeoutExceeded:
                return
            except ICMPLibError as error:
                self._error = str(error)
                return

    def _take(self, reply: Any) -> None:
        """Count a reply of ours, once; a raw socket also shows our own requests (on loopback) and others' replies."""
        from icmplib import ICMPError

        sent_at = self._sent_at.get(reply.sequence)
        if reply.id != self._requests[reply.sequence % len(self._requests)].id or sent_at is None:
            return
        if reply.type in ECHO_REPLIES:
            self._rtt_ms.setdefault(reply.sequence, (self._now() - sent_at) * 1000)
            return
        try:
            reply.raise_for_status()
        except ICMPError as error:
            self._error = str(error)
