"""ICMP echoes, all through one socket; traceroute, and the datagram that provokes a handshake, use UDP."""

import asyncio
import os
from collections.abc import Sequence
from ipaddress import ip_address
from socket import (
    AF_INET,
    IPPROTO_ICMP,
    MSG_DONTWAIT,
    SOCK_DGRAM,
    SOCK_RAW,
    SOL_SOCKET,
    AddressFamily,
    socket,
)
from time import monotonic
from typing import Any

from preflight.model.event import Listener, Tell, telling
from preflight.model.icmp import PRIVILEGE, EchoStats, PortWord, Trace
from preflight.net.drive import Driving, drive
from preflight.net.icmp.echo import open_sweep
from preflight.net.icmp.traceroute import trace
from preflight.net.udp import family_of, open_towards
from preflight.proto.icmp.closed_port import ClosedPort
from preflight.proto.icmp.sweep import PACKETS_PER_SECOND, Burst

DISCARD_PORT = 9
SO_BINDTODEVICE = 25  # Python has the name on Linux only


class Icmp:
    """Echoes and traces; its only state is the running sweeps, one for each address family, and who has answered."""

    def __init__(self, *, listener: Listener | None = None) -> None:
        self._listener = listener
        self._sweepers: dict[tuple[AddressFamily, str | None], _Sweeper] = {}
        self._answered: set[str] = set()
        self._refused: set[str] = set()

    def was_refused(self, address: str) -> bool:
        """Whether the host with an address itself has answered an echo with "port unreachable", as only a filter does.

        Kernels send few errors, so the next check may get none.
        """
        return str(ip_address(address)) in self._refused

    def has_answered(self, address: str) -> bool:
        """Whether any echo to an address was answered since this was made, for any check."""
        return str(ip_address(address)) in self._answered

    async def echo(
        self, address: str, *, count: int, interval_s: float, timeout_s: float, interface: str | None = None
    ) -> EchoStats:
        """Send `count` echo requests `interval_s` apart and wait `timeout_s` after the last (RFC 792, RFC 4443).
        They go out of `interface` whatever the routes say: who answers there need not be the peer of this run.

        Call it for as many addresses at once as you like: all share one socket and its pace, so that with hundreds the
        intervals grow. Uses a raw socket, else a ping socket if `net.ipv4.ping_group_range` allows one. Never
        raises for what the network or the kernel does: see `EchoStats.error`.
        """
        family = family_of(address)
        sweeper = self._sweepers.get((family, interface))
        if sweeper is None or not sweeper.open:
            tell = telling(self._listener, "icmp.sweep", family.name)
            try:
                sweeper = self._sweepers[family, interface] = _Sweeper(family, tell, interface)
            except PermissionError:
                return EchoStats(0, 0, error=PRIVILEGE)
            except OSError as error:
                return EchoStats(0, 0, error=str(error))
        named = str(ip_address(address))
        stats = await sweeper.echo(named, count, interval_s, timeout_s)
        if interface is not None:
            return stats
        self._answered |= {named} if stats.received else set()
        if stats.received:
            self._refused.discard(named)
        elif stats.error == f"port unreachable, says {named}":
            self._refused.add(named)
        return stats

    async def trace(
        self, address: str, *, max_hops: int = 12, timeout_s: float = 1.0, source: str | None = None
    ) -> Trace:
        """The hops to an address, without privilege; see `preflight.net.icmp.traceroute`."""
        tell = telling(self._listener, "icmp.traceroute", address)
        return await trace(address, max_hops=max_hops, timeout_s=timeout_s, source=source, tell=tell)

    def provoke_handshake(self, address: str, interface: str | None = None) -> str | None:
        """Send one empty datagram to the discard port (RFC 863), out of `interface` whatever the routes say.

        A tunnel without session then starts a handshake. Needs no privilege. Returns the kernel's error, or None.
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
        return await self.port_says(address, port, timeout_s=timeout_s) == "closed"

    async def port_says(self, address: str, port: int, *, timeout_s: float) -> PortWord:
        """What comes back for an empty datagram to a UDP port."""
        tell = telling(self._listener, "icmp.closed_port", f"{address} {port}")
        try:
            link = open_towards(address, port)
        except OSError:
            return "unsent"
        with link:
            core = ClosedPort(monotonic(), timeout_s, tell)
            closed = await drive(core, link, tell)
        return "closed" if closed else core.otherwise

    async def ports_say(
        self, address: str, ports: Sequence[int], *, gap_s: float, timeout_s: float
    ) -> tuple[PortWord, ...]:
        """The same for several ports, one each `gap_s`: a host limits how often it says that nobody listens."""

        async def later(number: int, port: int) -> PortWord:
            await asyncio.sleep(number * gap_s)
            return await self.port_says(address, port, timeout_s=timeout_s)

        return tuple(await asyncio.gather(*(later(number, port) for number, port in enumerate(ports))))

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


class _Sweeper:
    """One socket of one family, driven while a caller waits for an answer."""

    def __init__(self, family: AddressFamily, tell: Tell, interface: str | None = None) -> None:
        self._socket, self._core = open_sweep(family, PACKETS_PER_SECOND, tell)
        if interface is not None:
            try:
                self._socket.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, interface.encode())
            except OSError:
                self._socket.close()
                raise
        self._tell = tell
        self._waiting: dict[Burst, asyncio.Future[EchoStats]] = {}
        self._driving: Driving | None = None

    @property
    def open(self) -> bool:
        """Whether it takes more."""
        return self._driving is None or not self._driving.over.done()

    async def echo(self, address: str, count: int, interval_s: float, timeout_s: float) -> EchoStats:
        """One burst, together with all others that are under way."""
        now = monotonic()
        burst = self._core.sweep.add(address, count=count, interval_s=interval_s, timeout_s=timeout_s, now=now)
        answer: asyncio.Future[EchoStats] = asyncio.get_running_loop().create_future()
        self._waiting[burst] = answer
        driving = self._drive()
        try:
            both: list[asyncio.Future[Any]] = [answer, driving.over]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                driving.over.result()  # it failed: so does every caller that waits
            return answer.result()
        finally:
            del self._waiting[burst]
            self._core.sweep.drop(burst)
            driving.turn()
            if not self.open:
                self._socket.close()

    def _drive(self) -> Driving:
        """Take a turn now, because there is a new burst."""
        if self._driving is None:
            self._driving = Driving(self._core, self._socket, tell=self._tell, after_turn=self._hand_out)
        else:
            self._driving.turn()
        return self._driving

    def _hand_out(self) -> None:
        """Give the bursts that have ended to those who wait for them."""
        for burst in self._core.take_ended():
            answer = self._waiting.get(burst)
            if answer is not None and not answer.done():
                answer.set_result(burst.stats)
