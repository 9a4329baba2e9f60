"""What no packet finds: the nodes' tunnels held against one another, from their reports. Pure.

A finding names both nodes, and for each the line of its configuration that belongs there. Peers that are in no report
are another's business: nothing is said of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from itertools import combinations
from typing import Literal

from preflight.model.printable import number_of, one_line
from preflight.report.model import Report, TunnelInfo, TunnelPeerInfo

Kind = Literal[
    "one-key-on-two-nodes",
    "one-address-on-two-nodes",
    "key-of-nobody",
    "address-of-another",
    "address-missing",
    "peer-missing",
    "mtu-differs",
    "no-keepalive-behind-nat",
    "endpoint-of-another-site",
]


@dataclass(frozen=True, slots=True)
class Line:
    """What belongs into the configuration of a node."""

    node: str
    text: str


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One disagreement between two nodes."""

    kind: Kind
    nodes: tuple[str, str]
    message: str
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class _End:
    """A node's tunnel."""

    node: str
    tunnel: TunnelInfo
    outside: tuple[str, ...]
    """The node's addresses outside of its overlays."""
    site: str | None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses in the tunnel."""
        own = (ip_interface(each).ip for each in self.tunnel.addresses)
        return tuple(str(address) for address in own if not address.is_link_local)

    def entry(self, other: "_End") -> TunnelPeerInfo | None:
        """Its entry with the other's key."""
        return next((peer for peer in self.tunnel.peers if peer.public_key == other.tunnel.public_key), None)

    def owner(self, address: str) -> TunnelPeerInfo | None:
        """The entry that an address belongs to: the longest prefix wins."""
        wanted, found, longest = ip_address(address), None, -1
        for peer in self.tunnel.peers:
            for text in peer.allowed_ips:
                network = ip_network(text, strict=False)
                if wanted.version == network.version and wanted in network and network.prefixlen > longest:
                    found, longest = peer, network.prefixlen
        return found


def lint(reports: Mapping[str, Report], sites: Mapping[str, str]) -> tuple[LintFinding, ...]:
    """Every disagreement between two nodes. reports: the latest of each node. sites: of the nodes that have one."""
    ends = [end for name in sorted(reports) for end in _ends(name, reports[name], sites.get(name))]
    keys = frozenset(end.tunnel.public_key for end in ends if end.tunnel.public_key)
    pairs = [(one, other) for one, other in combinations(ends, 2) if one.node != other.node]
    found = [finding for pair in pairs for finding in (*_same_key(*pair), *_same_address(*pair))]
    # Of nodes that look alike nobody knows which one an entry means.
    twins = {node for finding in found for node in finding.nodes}
    for one, other in pairs:
        if not twins & {one.node, other.node}:
            found += [*_between(one, other, keys), *_mtu(one, other)]
    owners = {address: end for end in ends if end.node not in twins for address in end.addresses}
    for end in ends:
        found += _unknown_keys(end, owners, keys)
    return tuple(found)


def _ends(name: str, report: Report, site: str | None) -> Iterator[_End]:
    overlay = report.run.overlay
    for tunnel in overlay.tunnels if overlay is not None else ():
        if tunnel.public_key is not None:
            yield _End(name, tunnel, overlay.outside if overlay is not None else (), site)


def _same_key(one: _End, other: _End) -> Iterator[LintFinding]:
    if one.tunnel.public_key == other.tunnel.public_key:
        new = f"wg genkey | sudo tee /etc/wireguard/{other.tunnel.interface}.key | wg pubkey"
        yield LintFinding(
            "one-key-on-two-nodes",
            (one.node, other.node),
            f"{one.node} and {other.node} have the same key, {one.tunnel.public_key}: the others "
            "send to the one that spoke last",
            (Line(other.node, f"a new key: {new}"), Line(one.node, f"keeps its key {one.tunnel.public_key}")),
        )


def _same_address(one: _End, other: _End) -> Iterator[LintFinding]:
    for address in (each for each in one.addresses if each in other.addresses):
        lines = tuple(Line(end.node, f"[Interface] Address = {_address_of(end, address)}") for end in (one, other))
        yield LintFinding(
            "one-address-on-two-nodes",
            (one.node, other.node),
            f"{one.node} and {other.node} both have the address {address}; one of the two needs another",
            lines,
        )


def _address_of(end: _End, address: str) -> str:
    return next(each for each in end.tunnel.addresses if str(ip_interface(each).ip) == address)


def _between(one: _End, other: _End, keys: frozenset[str]) -> Iterator[LintFinding]:
    """What the entries of two nodes for each other say."""
    entries = {one.node: one.entry(other), other.node: other.entry(one)}
    for here, there in ((one, other), (other, one)):
        entry = entries[here.node]
        if entry is None:
            # Where neither has the other, they are not meant to talk directly.
            if entries[there.node] is not None and not _owned_by_nobody(here, there, keys):
                yield _lacking(here, there)
            continue
        yield from _allowed(here, there, entry)
        if entries[there.node] is not None:
            yield from _translated(here, there, entry, entries[there.node])
        yield from _elsewhere(here, there, entry)


def _owned_by_nobody(here: _End, there: _End, keys: frozenset[str]) -> bool:
    """Whether a key of no node has the other's address here: then the entry is there, with a wrong key."""
    owners = [here.owner(address) for address in there.addresses]
    return any(owner is not None and owner.public_key not in keys for owner in owners)


def _lacking(here: _End, there: _End) -> LintFinding:
    return LintFinding(
        "peer-missing",
        (here.node, there.node),
        f"{there.node} has {here.node} as a peer, and {here.node} does not have {there.node}: no handshake can succeed",
        (
            Line(here.node, _entry_line(there)),
            Line(there.node, f"[Peer] PublicKey = {here.tunnel.public_key} (as it is)"),
        ),
    )


def _entry_line(end: _End) -> str:
    """The entry that others need for a node."""
    allowed = ", ".join(f"{address}/{128 if ':' in address else 32}" for address in end.addresses)
    return f"[Peer] PublicKey = {end.tunnel.public_key}, AllowedIPs = {allowed}"


def _allowed(here: _End, there: _End, entry: TunnelPeerInfo) -> Iterator[LintFinding]:
    """Whether the other's addresses lead to it."""
    for address in there.addresses:
        owner = here.owner(address)
        if owner is entry:
            continue
        bits = 128 if ":" in address else 32
        missing = owner is None
        what = (
            "is in no AllowedIPs"
            if missing
            else f"is in the AllowedIPs of another peer, {owner.public_key if owner else ''}"
        )
        yield LintFinding(
            "address-missing" if missing else "address-of-another",
            (here.node, there.node),
            f"on {here.node} the address {address} of {there.node} {what}",
            (
                Line(here.node, f"[Peer] PublicKey = {entry.public_key}, AllowedIPs += {address}/{bits}"),
                Line(there.node, f"[Interface] Address = {_address_of(there, address)} (as it is)"),
            ),
        )


def _translated(here: _End, there: _End, entry: TunnelPeerInfo, back: TunnelPeerInfo | None) -> Iterator[LintFinding]:
    """Whether the other is behind NAT, as it is seen here, and lets the mapping expire."""
    seen = _endpoint(entry)
    if seen is None or not there.outside or seen in there.outside or back is None or back.keepalive_s:
        return
    yield LintFinding(
        "no-keepalive-behind-nat",
        (there.node, here.node),
        f"{here.node} sees {there.node} at {entry.endpoint}, which is not its own address, so it is behind NAT; "
        f"without keepalive {here.node} cannot reach it once the mapping has expired",
        (
            Line(there.node, f"[Peer] PublicKey = {here.tunnel.public_key}, PersistentKeepalive = 25"),
            Line(here.node, "nothing to change"),
        ),
    )


def _elsewhere(here: _End, there: _End, entry: TunnelPeerInfo) -> Iterator[LintFinding]:
    """Whether the other's endpoint is a private address of another site."""
    seen = _endpoint(entry)
    if seen is None or None in (here.site, there.site) or here.site == there.site or entry.handshaken:
        return
    if ip_address(seen).is_private and seen in there.outside:
        yield LintFinding(
            "endpoint-of-another-site",
            (here.node, there.node),
            f"{here.node} ({here.site}) has {entry.endpoint} as the endpoint of {there.node}, which is a private "
            f"address of {there.site}, and there was no handshake",
            (
                Line(
                    here.node, f"[Peer] PublicKey = {entry.public_key}, Endpoint = the public address of {there.site}"
                ),
                Line(there.node, f"[Interface] ListenPort = {there.tunnel.listen_port}, forwarded by the router"),
            ),
        )


def _endpoint(entry: TunnelPeerInfo) -> str | None:
    return entry.endpoint.rpartition(":")[0].strip("[]").partition("%")[0] if entry.endpoint else None


def _mtu(one: _End, other: _End) -> Iterator[LintFinding]:
    """Two peers with different MTUs: what the larger one sends whole, the other cannot answer with."""
    sizes = (one.tunnel.mtu, other.tunnel.mtu)
    if None in sizes or sizes[0] == sizes[1] or one.entry(other) is None or other.entry(one) is None:
        return
    least = min(size for size in sizes if size is not None)
    yield LintFinding(
        "mtu-differs",
        (one.node, other.node),
        f"the tunnel's MTU is {sizes[0]} on {one.node} and {sizes[1]} on {other.node}",
        tuple(
            Line(end.node, f"[Interface] MTU = {least}" + (" (as it is)" if end.tunnel.mtu == least else ""))
            for end in (one, other)
        ),
    )


def _unknown_keys(end: _End, by_address: Mapping[str, _End], keys: frozenset[str]) -> Iterator[LintFinding]:
    """Entries for the address of a node with a key that no node has: the node has a new one, or it is mistyped."""
    for peer in end.tunnel.peers:
        if peer.public_key in keys:
            continue
        for text in peer.allowed_ips:
            network = ip_network(text, strict=False)
            owner = by_address.get(str(network.network_address)) if network.num_addresses == 1 else None
            if owner is None or owner.node == end.node:
                continue
            yield LintFinding(
                "key-of-nobody",
                (end.node, owner.node),
                f"{end.node} has the key {peer.public_key} for {network.network_address}, and no node has that key; "
                f"{owner.node} has {owner.tunnel.public_key}",
                (
                    Line(end.node, f"[Peer] PublicKey = {owner.tunnel.public_key}, AllowedIPs = {network}"),
                    Line(owner.node, f"has the public key {owner.tunnel.public_key}"),
                ),
            )


def lint_text(findings: Sequence[LintFinding], nodes: int) -> str:
    """The findings, each with the lines for both nodes."""
    agree = f"the tunnels of {number_of('nodes', nodes)} agree with one another"
    lines = [agree if not findings else f"{number_of('findings', len(findings))} in {number_of('nodes', nodes)}"]
    for number, finding in enumerate(findings, start=1):
        lines += ["", f"{number}. {' and '.join(finding.nodes)}  {finding.kind}", f"    {one_line(finding.message)}"]
        lines += [one_line(f"    on {line.node}: {line.text}") for line in finding.lines]
    return "\n".join([*map(str.rstrip, lines), ""])
