"""Faults of tunnels, firewalls and the underlay, as parts of a lab."""

from typing import TYPE_CHECKING

from preflight.lab.impairment import Impairment
from preflight.lab.names import MEMBERS, ROUTER
from preflight.lab.network import index_of, inside, netlink, router_link, set_sysctl
from preflight.lab.part import Part
from preflight.lab.topology import (
    Family,
    underlay_address,
)

if TYPE_CHECKING:
    from preflight.lab.network import Network

FAMILIES: tuple[Family, Family] = (4, 6)


# The tunnel on a


def tunnel_missing(node: str) -> Part:
    """The node has no tunnel device."""

    def inject(network: "Network") -> None:
        with netlink(network.names.namespace(node)) as route:
            route.link("del", index=index_of(route, network.names.tunnel(node)))

    return Part(f"{node} has no tunnel", inject=inject)


def tunnel_down(node: str) -> Part:
    """The node's tunnel device exists but is down."""

    def inject(network: "Network") -> None:
        with netlink(network.names.namespace(node)) as route:
            route.link("set", index=index_of(route, network.names.tunnel(node)), state="down")

    return Part(f"{node}'s tunnel is down", inject=inject)


# Firewalls


def drop_in(node: str, source: str, what: str = "") -> Part:
    """The node's firewall drops packets from `source` that come out of its tunnel. what: an nft match, everything if
    empty.
    """

    def inject(network: "Network") -> None:
        match = f'input iifname "{network.tunnel_to(node, source)}"'
        network.nft(
            node, *(f"{match} {_from(network, source, family)} {what} drop" for family in network.plan.families)
        )

    return Part(f"{node} drops packets from {source}", inject=inject)


def drop_out(node: str, target: str, comment: str = "") -> Part:
    """The node's firewall drops packets to `target` that it sends into its tunnel."""

    def inject(network: "Network") -> None:
        match, note = f'output oifname "{network.tunnel_to(node, target)}"', f'comment "{comment}"' if comment else ""
        targets = (_to(network, target, family) for family in network.plan.families)
        network.nft(node, *(f"{match} {each} drop {note}" for each in targets))

    return Part(f"{node} drops its packets to {target}", inject=inject)


def no_echo(node: str) -> Part:
    """The node drops ICMP echo requests that come out of its tunnel, and nothing else."""

    def inject(network: "Network") -> None:
        match = f'input iifname "{network.names.tunnel(node)}"'
        network.nft(
            node,
            f"{match} icmp type echo-request drop",
            f"{match} icmpv6 type echo-request drop",
        )

    return Part(f"{node} drops ICMP echo", inject=inject)


def drop_port(node: str, port: int) -> Part:
    """The node silently drops packets to one of its TCP ports."""
    return Part(
        f"{node} drops TCP port {port}", inject=lambda network: network.nft(node, f"input tcp dport {port} drop")
    )


def _from(network: "Network", node: str, family: Family) -> str:
    return f"{'ip' if family == 4 else 'ip6'} saddr {network.plan.address(node, family)}"


def _to(network: "Network", node: str, family: Family) -> str:
    return f"{'ip' if family == 4 else 'ip6'} daddr {network.plan.address(node, family)}"


# The underlay between two nodes; `source` and `target` are members, and it goes one way only


def underlay_mtu(source: str, target: str, mtu: int) -> Part:
    """On the router, the path from `source` to `target` carries no larger packets; ICMP reports it.

    The router selects this route by source and destination, so that neither the other direction nor a third node is
    affected.
    """

    def inject(network: "Network") -> None:
        with netlink(network.names.namespace(ROUTER)) as route:
            out = index_of(route, router_link(target))
        # Locked, or IPv6 forwarding uses the device's MTU.
        narrow = {"mtu": mtu, "lock": 1 << _RTAX_MTU}
        for family in FAMILIES:
            ends = underlay_address(source, family), underlay_address(target, family)
            network.steer(ROUTER, table_between(source, target), *ends, oif=out, metrics=narrow)

    return Part(f"the path from {source} to {target} carries {mtu} bytes", inject=inject)


_RTAX_MTU = 2


def table_between(source: str, target: str) -> int:
    """A separate routing table for each ordered pair of nodes."""
    return 100 + 10 * MEMBERS.index(source) + MEMBERS.index(target)


def no_icmp_too_big() -> Part:
    """The router never reports that a packet was too big."""
    return Part(
        "the router sends no ICMP about packets that are too big",
        inject=lambda network: network.nft(
            ROUTER,
            "output icmp type destination-unreachable icmp code frag-needed drop",
            "output icmpv6 type packet-too-big drop",
        ),
    )


def black_hole(source: str, target: str, mtu: int = 1380) -> tuple[Part, ...]:
    """Large packets vanish silently on the path from `source` to `target`."""
    return (no_icmp_too_big(), underlay_mtu(source, target, mtu))


def impaired(source: str, target: str, impairment: Impairment, *, inside_hub: bool = False) -> Part:
    """A bad link on the path from `source` to `target`.

    inside_hub: inside the tunnel, on the hub, between its two halves. Duplicates must be made there: WireGuard's
    replay protection drops duplicates of the outer packets.
    """

    def inject(network: "Network") -> None:
        hub = network.plan.topology.hub if inside_hub else None
        address = network.plan.address if hub else underlay_address
        # Packets from the forwarder must not enter it again: only packets from the source's link do.
        entrance = network.names.tunnel(hub) if hub else router_link(source)
        bad_link = network.start_forwarder(hub or ROUTER, f"bad-{source}-{target}", impairment)
        for family in FAMILIES:
            ends = address(source, family), address(target, family)
            network.steer(hub or ROUTER, table_between(source, target), *ends, entrance=entrance, oif=bad_link)

    return Part(f"the link from {source} to {target} has {impairment.summary()}", inject=inject)


def both_ways(one: str, other: str, impairment: Impairment) -> tuple[Part, Part]:
    """An equal bad link in both directions."""
    return impaired(one, other, impairment), impaired(other, one, impairment)


def random_loss(source: str, target: str, percent: int) -> Part:
    """The router loses random packets on the path from `source` to `target`."""

    def inject(network: "Network") -> None:
        for family, ip in zip(FAMILIES, ("ip", "ip6"), strict=True):
            where = f"{ip} saddr {underlay_address(source, family)} {ip} daddr {underlay_address(target, family)}"
            network.nft(ROUTER, f"forward {where} numgen random mod 100 < {percent} drop")

    return Part(f"{percent} % of the packets from {source} to {target} are lost", inject=inject)


def nat(node: str, timeout_s: int) -> Part:
    """The router masquerades the node, and drops the mapping after this many seconds of silence; no host can connect to
    it first.
    """

    def inject(network: "Network") -> None:
        others = [member for member in network.plan.topology.members if member != node]
        network.nft(
            ROUTER,
            *(f"postrouting ip saddr {underlay_address(node, 4)} oifname {router_link(o)} masquerade" for o in others),
            f"forward iifname != {router_link(node)} ip daddr {underlay_address(node, 4)} ct state new drop",
        )
        with inside(network.names.namespace(ROUTER)):
            for kind in ("udp_timeout", "udp_timeout_stream"):
                set_sysctl(f"net/netfilter/nf_conntrack_{kind}", timeout_s)
        for member in (*others, node):
            network.configure_tunnel(member)

    return Part(f"{node} is behind a NAT that drops its mapping after {timeout_s} s", inject=inject)


def translating_hub(hub: str) -> Part:
    """The hub masquerades packets from spoke to spoke, inside the tunnel."""

    def inject(network: "Network") -> None:
        out = f'postrouting oifname "{network.names.tunnel(hub)}"'
        spokes = [(member, family) for member in network.plan.topology.members for family in network.plan.families]
        sources = (_from(network, spoke, family) for spoke, family in spokes if spoke != hub)
        network.nft(hub, *(f"{out} {source} masquerade" for source in sources))

    return Part(f"{hub} masquerades packets from spoke to spoke", inject=inject)
