"""Stand-ins for IP addresses that keep the topology: what was in one network is in one network afterwards.

A network gets a block of the same length from the ranges for documentation (RFC 5737, RFC 3849, RFC 9637). For IPv4
those hold three networks of 256; behind them come the benchmarking range 198.18.0.0/15 (RFC 2544) and, for more than
515 networks or larger ones, the reserved 240.0.0.0/4: a million networks. A network within a known one gets its block
within that one's, and a host the next free address of its network. Lengths are kept; the first address of a network
stays its first one, and of IPv4 the last one the last.

What is in no known network lives in its /24, or its /64. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from preflight.model.overlay import IPNetwork

IPAddress = IPv4Address | IPv6Address
Block = tuple[int, int]
"""The first address as a number, and the length of the prefix."""

_POOLS = {
    4: ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "240.0.0.0/4"),
    6: ("2001:db8::/32", "3fff::/20"),
}
_THEMSELVES = ("127.0.0.0/8", "169.254.0.0/16", "fe80::/64", "ff02::1:ff00:0/104")
"""Loopback and link-local networks, and solicited-node groups, mean something; only the host in them is replaced."""
_WIDEST = {4: 8, 6: 20}
"""A wider prefix tells nothing about a site: `0.0.0.0/1`, `fd00::/8`."""
_USUAL = {4: 24, 6: 64}
_LOOPBACK, _BROADCAST = IPv4Address("127.0.0.1"), IPv4Address("255.255.255.255")
_SOLICITED = IPv6Network(_THEMSELVES[-1])
_EMBEDDING = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96")))
"""Prefixes in front of an IPv4 address (RFC 4291 section 2.5.5.2, RFC 6052)."""


@dataclass(slots=True)
class _Known:
    """A network and its stand-in. free: blocks of that without an owner. home: hosts live in it directly."""

    network: Block
    stand_in: Block
    free: list[Block]
    home: bool


class _Family:
    """The stand-ins of one version of IP, as numbers."""

    def __init__(self, version: int) -> None:
        self._bits = 32 if version == 4 else 128
        self._usual, self._widest = _USUAL[version], _WIDEST[version]
        self._pool = [_block(ip_network(text)) for text in _POOLS[version]]
        self._known: dict[int, dict[int, _Known]] = {}
        self._lengths: list[int] = []
        for network in map(ip_network, _THEMSELVES):
            if network.version == version:
                self._add(_block(network), _block(network), home=True)
        if version == 4:
            self.stand_in((int(_LOOPBACK), 32))  # the first host that is free there: itself

    def stand_in(self, network: Block, *, home: bool = False) -> int | None:
        """The first address of the block that stands for a network or host; None if it stays as it is.

        When every block is given, the last address of all stands for the hosts that are left.
        """
        start, length = network
        if known := self._known.get(length, {}).get(start):
            known.home |= home
            return known.stand_in[0]
        if length < self._widest:
            return None
        around = self._around(network)
        if length > self._usual and not (around and (around.home or around.network[1] >= self._usual)):
            self.stand_in(self._cut(start, self._usual), home=True)
            around = self._around(network)
        block = (around and self._inside(around, network)) or self._first_free(self._pool, length)
        if block is None:
            return (1 << self._bits) - 1 if length == self._bits else None
        self._add(network, block, home=home)
        return block[0]

    def _add(self, network: Block, block: Block, *, home: bool) -> None:
        start, length = network
        self._known.setdefault(length, {})[start] = _Known(network, block, self._between_ends(block), home)
        self._lengths = sorted(self._known, reverse=True)

    def _around(self, network: Block) -> _Known | None:
        """The smallest known network that holds this one."""
        start, length = network
        wider = (self._known[known].get(self._cut(start, known)[0]) for known in self._lengths if known < length)
        return next(filter(None, wider), None)

    def _inside(self, around: _Known, network: Block) -> Block | None:
        """A block within the stand-in of the network around; None where it is taken."""
        (outer, _), (start, length), size = around.network, network, self._size(network)
        whole, (place, _) = self._size(around.network), around.stand_in
        if start == outer:
            wanted = place
        elif self._bits == 32 and start + size == outer + whole:
            wanted = place + whole - size
        else:
            return self._first_free(around.free, length)
        own = [block for block in around.free if wanted <= block[0] < wanted + size]
        if sum(map(self._size, own)) < size - 1:  # all but the end itself, which is never free
            return None
        around.free = [block for block in around.free if block not in own]
        return wanted, length

    def _first_free(self, free: list[Block], length: int) -> Block | None:
        """Take the first block of that length; what is left of a larger one stays in its place."""
        for place, (start, wide) in enumerate(free):
            if wide <= length:
                free[place : place + 1] = [(start + self._size((0, rest)), rest) for rest in range(length, wide, -1)]
                return start, length
        return None

    def _between_ends(self, block: Block) -> list[Block]:
        """The block without its first address and, of IPv4, its last one."""
        start, length = block
        free = [(start + self._size((0, part)), part) for part in range(self._bits, length, -1)]
        if self._bits == 32 and free:
            last, wide = free.pop()
            free += [(last + self._size(block) // 2 - 2 * self._size((0, part)), part) for part in range(wide + 1, 33)]
        return free

    def _cut(self, number: int, length: int) -> Block:
        return number & -(1 << self._bits - length), length

    def _size(self, block: Block) -> int:
        return 1 << self._bits - block[1]


class AddressPseudonyms:
    """The same stand-in for the same address or network, always."""

    def __init__(self) -> None:
        self._families = {4: _Family(4), 6: _Family(6)}

    def learn(self, networks: Iterable[tuple[IPNetwork, bool]]) -> None:
        """Know networks, and whether hosts live in them directly, before their addresses come: the wide ones first."""
        for network, home in sorted(networks, key=lambda known: (known[0].prefixlen, int(known[0].network_address))):
            if network.prefixlen < network.max_prefixlen and _tells(network.network_address):
                self._families[network.version].stand_in(_block(network), home=home)

    def network(self, network: IPNetwork) -> IPNetwork:
        """The stand-in of a network, of the same length."""
        start = self._families[network.version].stand_in(_block(network)) if _tells(network.network_address) else None
        return network if start is None else type(network)((start, network.prefixlen))

    def address(self, address: IPAddress) -> IPAddress:
        """The stand-in of an address; an address that tells nothing about a site is its own."""
        if not _tells(address):
            return address
        if isinstance(address, IPv6Address):
            for prefix in _EMBEDDING:
                if address in prefix:
                    inner = self.address(IPv4Address(int(address) & 0xFFFFFFFF))
                    return IPv6Address(int(prefix.network_address) | int(inner))
        number = self._families[address.version].stand_in((int(address), address.max_prefixlen))
        return address if number is None else type(address)(number)


def _tells(address: IPAddress) -> bool:
    """The unspecified address, loopback of IPv6, broadcast and groups say nothing, unless a host stands in one."""
    group = address.is_multicast and address not in _SOLICITED
    loopback = address.version == 6 and address.is_loopback
    return not (loopback or address.is_unspecified or group or address == _BROADCAST)


def _block(network: IPNetwork) -> Block:
    return int(network.network_address), network.prefixlen
