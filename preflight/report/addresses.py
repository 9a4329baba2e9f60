"""Pseudonyms for IP addresses that keep the topology: addresses of one network stay in one network.

A network gets a block of the same length from the ranges for documentation (RFC 5737, RFC 3849, RFC 9637). For IPv4
these are three networks of 256; after them come the benchmarking range 198.18.0.0/15 (RFC 2544) and, for more than
515 networks or larger ones, the reserved 240.0.0.0/4: a million networks. A network inside a known one gets a block
inside that one's block, and a host the next free address of its network. Prefix lengths stay; the first address of a
network stays its first, and for IPv4 the last stays the last.

An address in no known network belongs to its /24, or its /64. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

from preflight.model.overlay import IPNetwork

IPAddress = IPv4Address | IPv6Address
Block = tuple[int, int]
"""The first address as a number, and the prefix length."""

_POOLS = {
    4: ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15", "240.0.0.0/4"),
    6: ("2001:db8::/32", "3fff::/20"),
}
_THEMSELVES = ("127.0.0.0/8", "169.254.0.0/16", "fe80::/64", "ff02::1:ff00:0/104")
"""Loopback and link-local networks and solicited-node groups have a fixed meaning; replace only the host part."""
_WIDEST = {4: 8, 6: 20}
"""A wider prefix says nothing about a site: `0.0.0.0/1`, `fd00::/8`."""
_USUAL = {4: 24, 6: 64}
_LOOPBACK, _BROADCAST = IPv4Address("127.0.0.1"), IPv4Address("255.255.255.255")
_SOLICITED = IPv6Network(_THEMSELVES[-1])
_EMBEDDING = tuple(map(IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96")))
"""Prefixes in front of an IPv4 address (RFC 4291 section 2.5.5.2, RFC 6052)."""


@dataclass(slots=True)
class _Known:
    """A network and its pseudonym. free: its unassigned blocks. home: it contains hosts directly."""

    network: Block
    pseudonym: Block
    free: list[Block]
    home: bool


class _Family:
    """The pseudonyms of one version of IP, as numbers."""

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
            self.pseudonym((int(_LOOPBACK), 32))  # the first free host there: itself

    def pseudonym(self, network: Block, *, home: bool = False) -> int | None:
        """The first address of the block that replaces a network or host; None if it is not replaced.

        When all blocks are used, the last address of all replaces the remaining hosts.
        """
        start, length = network
        if known := self._known.get(length, {}).get(start):
            known.home |= home
            return known.pseudonym[0]
        if length < self._widest:
            return None
        around = self._around(network)
        if length > self._usual and not (around and (around.home or around.network[1] >= self._usual)):
            self.pseudonym(self._cut(start, self._usual), home=True)
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
        """The smallest known network that contains this one."""
        start, length = network
        wider = (self._known[known].get(self._cut(start, known)[0]) for known in self._lengths if known < length)
        return next(filter(None, wider), None)

    def _inside(self, around: _Known, network: Block) -> Block | None:
        """A block inside the pseudonym of the surrounding network; None if it is full."""
        (outer, _), (start, length), size = around.network, network, self._size(network)
        whole, (place, _) = self._size(around.network), around.pseudonym
        if start == outer:
            wanted = place
        elif self._bits == 32 and start + size == outer + whole:
            wanted = place + whole - size
        else:
            return self._first_free(around.free, length)
        own = [block for block in around.free if wanted <= block[0] < wanted + size]
        if sum(map(self._size, own)) < size - 1:  # everything except the last block, which is never free
            return None
        around.free = [block for block in around.free if block not in own]
        return wanted, length

    def _first_free(self, free: list[Block], length: int) -> Block | None:
        """Take the first block of that length; the rest of a larger one stays free."""
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
    """Consistent pseudonyms for addresses and networks."""

    def __init__(self) -> None:
        self._families = {4: _Family(4), 6: _Family(6)}

    def learn(self, networks: Iterable[tuple[IPNetwork, bool]]) -> None:
        """Register networks, and whether they contain hosts directly, before their addresses come: wide ones first."""
        for network, home in sorted(networks, key=lambda known: (known[0].prefixlen, int(known[0].network_address))):
            if network.prefixlen < network.max_prefixlen and _identifies_a_site(network.network_address):
                self._families[network.version].pseudonym(_block(network), home=home)

    def network(self, network: IPNetwork) -> IPNetwork:
        """The pseudonym of a network, with the same prefix length."""
        start = (
            self._families[network.version].pseudonym(_block(network))
            if _identifies_a_site(network.network_address)
            else None
        )
        return network if start is None else type(network)((start, network.prefixlen))

    def address(self, address: IPAddress) -> IPAddress:
        """The pseudonym of an address; an address that says nothing about a site stays unchanged."""
        if not _identifies_a_site(address):
            return address
        if isinstance(address, IPv6Address):
            for prefix in _EMBEDDING:
                if address in prefix:
                    inner = self.address(IPv4Address(int(address) & 0xFFFFFFFF))
                    return IPv6Address(int(prefix.network_address) | int(inner))
        number = self._families[address.version].pseudonym((int(address), address.max_prefixlen))
        return address if number is None else type(address)(number)


def _identifies_a_site(address: IPAddress) -> bool:
    """The unspecified address, IPv6 loopback, broadcast and groups say nothing, unless they contain a host."""
    group = address.is_multicast and address not in _SOLICITED
    loopback = address.version == 6 and address.is_loopback
    return not (loopback or address.is_unspecified or group or address == _BROADCAST)


def _block(network: IPNetwork) -> Block:
    return int(network.network_address), network.prefixlen
