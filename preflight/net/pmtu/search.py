"""Path-MTU searches over real sockets: a thin shell around `preflight.proto.pmtu`, in an event loop or without one.

`python -m preflight.net.pmtu.search [--strict] ADDRESS [PORT [KEY-FILE]]` searches both directions, with nothing else
loaded.
"""

import errno
import json
import os
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from io import FileIO
from time import monotonic
from typing import TYPE_CHECKING

from preflight.model.event import Listener
from preflight.model.pmtu import OneWay, PathMtu, SearchOutcome
from preflight.net import udp
from preflight.proto.pmtu.fast import PathMtuSearch, Search
from preflight.proto.pmtu.wire import LARGEST, TOKEN_BYTES, overhead

if TYPE_CHECKING:
    from preflight.model.peer import Peer
    from preflight.model.pmtu_hops import Vanishing
    from preflight.settings.load import Settings

DIRECTIONS: tuple[OneWay, ...] = ("forward", "reverse")
STAMP_PORT = 862
DISCARD_PORT = 9
SNMP = "/proc/thread-self/net/snmp"
SNMP6 = "/proc/thread-self/net/snmp6"


class PathMtuProbes:
    """Searches towards the responders of this run's peers."""

    def __init__(self, settings: "Settings", *, listener: Listener | None = None) -> None:
        self._listener = listener
        self._key = settings.secrets.responder_key
        self._strict = settings.checks.pmtu == "strict"

    async def search(self, peer: "Peer", direction: OneWay, *, ceiling_bytes: int | None = None) -> PathMtu:
        """Find the path MTU to or from a peer, exact to the byte.

        ceiling_bytes: largest IP packet to try; by default the MTU of the interface that leads to the peer. In the
        reverse direction the peer's own word comes first. A network that does not answer is a `SearchOutcome`.
        """
        try:
            link = udp.open_towards(peer.address, peer.responder_port)
        except OSError:
            return PathMtu(direction=direction, outcome=SearchOutcome.NO_ANSWER, ceiling_bytes=ceiling_bytes or 0)
        with link:
            search = _search(peer.address, direction, ceiling_bytes, self._key, self._strict)
            for wait_s in _steps(search, link):
                await udp.until_readable(link, wait_s)
        assert search.result is not None
        return search.result

    async def echo(self, address: str) -> PathMtu:
        """Find the largest echo that gets to an address and back, exact to the byte; the host needs nothing of ours.

        Its `direction` is that of the requests: whether a request or its answer was lost is not known.
        """
        from preflight.net.pmtu.echo import open_echo, shows_ip_header
        from preflight.proto.pmtu.echo import EchoSearch

        ceiling = HostPath().device_mtu(address) or LARGEST
        nothing = PathMtu(direction="forward", outcome=SearchOutcome.NO_ANSWER, ceiling_bytes=ceiling)
        try:
            link = open_echo(address)
        except PermissionError:
            return replace(nothing, outcome=SearchOutcome.NOT_PERMITTED)
        except OSError:
            return nothing
        with link:
            search = EchoSearch(
                address=address,
                ceiling=ceiling,
                token=os.urandom(TOKEN_BYTES),
                identifier=int.from_bytes(os.urandom(2)),
                ip_header=shows_ip_header(link),
            )
            for wait_s in _steps(search, link):
                await udp.until_readable(link, wait_s)
        return search.result or nothing

    def path_mtu(self, address: str, *, mark: int = 0) -> int:
        """Path MTU towards `address` as the kernel believes it, bytes; 0 = unknown. Kept by it for ten minutes.

        mark: firewall mark of the packets in question; with one it takes the privilege to set it (`net_admin`).
        """
        return _kernel_path_mtu(address, mark)

    async def underlay_carries(self, address: str, low: int, high: int, *, timeout_s: float) -> int:
        """The largest IP packet between two sizes that provably reached a host that runs nothing of ours; 0 = unknown.

        The proof is the host's own "port unreachable" that quotes the packet, so silence and ICMP rate limits only
        make the result smaller. Every fourth size, then the three behind the best, with DF, to traceroute's first port.
        """
        try:
            link = udp.open_towards(address, udp.TRACEROUTE_PORT)
        except OSError:
            return 0
        with link:
            best = await _refused_size(link, address, range(low, high + 1, 4), timeout_s)
            finer = range(best + 1, min(best + 3, high) + 1)
            return max(best, await _refused_size(link, address, finer, timeout_s)) if best else 0

    async def vanishing(self, address: str, *, small: int, large: int, patience_s: float) -> "Vanishing":
        """How far packets of `large` bytes get towards an address that those of `small` bytes reach; IP packets.

        patience_s: how long an answer of a hop is waited for, seconds. Silence of the network is data.
        """
        from preflight.net.pmtu.hops import find_vanishing

        return await find_vanishing(address, small=small, large=large, patience_s=patience_s)


class HostPath:
    """What this host knows about its own side of a path: the responder's `HostView`. Needs no privilege."""

    def device_mtu(self, address: str) -> int:
        """MTU of the interface that leads to `address`, bytes; 0 = unknown.

        Learnt from the refusal of a datagram that no interface can send, so no packet leaves.
        """
        cached = self.path_mtu(address)
        if cached == 0 or cached >= LARGEST:
            return cached
        try:
            with udp.open_towards(address, DISCARD_PORT) as probe:
                if udp.send(probe, bytes(udp.MAX_DATAGRAM - overhead(address))) != errno.EMSGSIZE:
                    return cached
                refusals = [error.info for error in udp.receive_errors(probe) if error.origin == udp.ORIGIN_LOCAL]
        except OSError:
            return cached
        return refusals[0] if refusals else cached

    def path_mtu(self, address: str) -> int:
        """Path MTU towards `address` in the kernel's cache, bytes; 0 = unknown."""
        return _kernel_path_mtu(address)

    def reassembled(self) -> int | None:
        """Datagrams that this network namespace has put together from fragments, IPv4 and IPv6; None = unknown."""
        try:
            names, values = _content(SNMP).split(b"\n", 2)[:2]
            count = int(values.split()[names.split().index(b"ReasmOKs")])
            try:
                count += int(_content(SNMP6).partition(b"Ip6ReasmOKs")[2].split(None, 1)[0])
            except FileNotFoundError:
                pass  # a kernel without IPv6
        except (OSError, ValueError, IndexError):
            return None
        return count


def _content(path: str) -> bytes:
    """A small file, read for each datagram that comes: `pathlib` takes twice as long, and its import much longer."""
    with FileIO(path) as file:
        return file.readall()


def _kernel_path_mtu(address: str, mark: int = 0) -> int:
    """IP_MTU of a socket connected to the address; no packet leaves."""
    family = udp.family_of(address)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            if mark:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
            probe.connect((address, DISCARD_PORT))
            if family == socket.AF_INET6:
                return probe.getsockopt(socket.IPPROTO_IPV6, udp.IPV6_MTU)
            return probe.getsockopt(socket.IPPROTO_IP, udp.IP_MTU)
    except OSError:
        return 0


def _search(address: str, direction: OneWay, ceiling_bytes: int | None, key: bytes | None, strict: bool) -> Search:
    ceiling = ceiling_bytes or HostPath().device_mtu(address) or LARGEST
    token = os.urandom(TOKEN_BYTES)
    if strict:
        from preflight.proto.pmtu.strict import StrictPathMtuSearch

        return StrictPathMtuSearch(direction, address=address, ceiling=ceiling, token=token, key=key)
    return PathMtuSearch(direction, address=address, ceiling=ceiling, token=token, key=key)


def _steps(search: Search, link: socket.socket) -> Iterator[float]:
    """Run a search; yields whenever there is nothing to do but to wait that many seconds for the socket."""
    host = HostPath()
    while True:
        for data in search.datagrams_to_send(monotonic()):
            udp.send(link, data)
        now = monotonic()  # before the socket is emptied: on a busy machine this process may be late, the answers not
        _take_errors(search, link)
        for datagram in udp.waiting(link):
            search.receive(datagram.data, monotonic(), host.reassembled() if search.counts_here else None)
        search.handle_timer(now)
        timer = search.get_timer()
        now = monotonic()
        if timer is None:
            return
        if timer > now:
            yield timer - now


def _take_errors(search: Search, link: socket.socket) -> None:
    for error in udp.receive_errors(link):
        if error.port_unreachable:
            search.refused(monotonic())
        elif error.code == errno.EMSGSIZE and error.origin == udp.ORIGIN_LOCAL:
            search.too_big_here(error.info)
        elif error.code == errno.EMSGSIZE:
            search.icmp_too_big(error.data, error.info, error.offender or "")


async def _refused_size(link: socket.socket, address: str, sizes: range, timeout_s: float) -> int:
    """Send a packet of each size to a closed port; the largest one that the host itself refused, 0 if none."""
    token = os.urandom(TOKEN_BYTES)
    packets = {token + size.to_bytes(2): size for size in sizes}
    for start, size in packets.items():
        udp.send(link, start.ljust(size - overhead(address), b"\0"))
    refused: set[int] = set()
    deadline = monotonic() + timeout_s
    while len(refused) < len(packets) and (left_s := deadline - monotonic()) > 0:
        await udp.until_readable(link, left_s)
        errors = [error for error in udp.receive_errors(link) if error.port_unreachable]
        refused |= {packets[start] for error in errors if (start := error.data[: TOKEN_BYTES + 2]) in packets}
        udp.receive(link)
    return max(refused, default=0)


def main(arguments: list[str]) -> int:
    """Search both directions at once and print a line of JSON for each; 0 if full-size packets pass."""
    strict = arguments[:1] == ["--strict"]
    words = arguments[strict:]
    if not 1 <= len(words) <= 3:
        sys.stderr.write("usage: python -m preflight.net.pmtu.search [--strict] ADDRESS [PORT [KEY-FILE]]\n")
        return 2
    address, port, key_file = (*words, *("", "")[len(words) - 1 :])
    key = _content(key_file).rstrip(b"\r\n") if key_file else None
    searches = [_search(address, direction, None, key, strict) for direction in DIRECTIONS]
    _run_blocking(searches, address, int(port or STAMP_PORT))
    results = [search.result for search in searches if search.result]
    for result in results:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
    return 0 if all(result.fits for result in results) else 1


def _run_blocking(searches: list[Search], address: str, port: int) -> None:
    """Run searches side by side without an event loop."""
    with ExitStack() as stack:
        links = [stack.enter_context(udp.open_towards(address, port)) for _ in searches]
        running = {link: _steps(search, link) for search, link in zip(searches, links, strict=True)}
        due = dict.fromkeys(running, 0.0)
        while running:
            readable, _, _ = select.select(list(running), [], [], max(0.0, min(due.values()) - monotonic()))
            for link in [link for link in running if link in readable or due[link] <= monotonic()]:
                wait_s = next(running[link], None)
                if wait_s is None:
                    del running[link], due[link]
                else:
                    due[link] = monotonic() + wait_s


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
