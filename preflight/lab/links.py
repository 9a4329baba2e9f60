"""The path from a to the router in some set-ups: translations of addresses, a second uplink, other links.

All are healthy. Others find a at the same address as in the plain lab: that of the last gateway before the router.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.blueprint import Blueprint, Product
from preflight.lab.names import CARRIER, GATEWAY, ROUTER
from preflight.lab.network import UNDERLAY, inside, router_link, set_sysctl
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.topology import HOME_ADDRESS, HOME_GATEWAY, Family, gateway_address, underlay_address

if TYPE_CHECKING:
    from preflight.lab.network import Network

FAMILIES: tuple[Family, Family] = (4, 6)
OVERHEAD: Mapping[Product, int] = {"wireguard": 80, "vxlan": 70, "nebula": 80, "openvpn": 100}
"""The bytes that a product adds to a packet, at most, with the headers of an outer packet."""
HOME = "lan"
"""The home router's device towards a."""
CUSTOMER = "customer"
"""The carrier's device towards a's home router."""
SECOND_UPLINK = "eth1"
SECOND_NETWORK = "10.202.1", "fdc9:0:0:302:"
"""The IPv4 and IPv6 network of a's second uplink, without the last part."""
PHYSICAL = "phys0"
"""The device below a's uplink, where that is a tunnel itself."""
_SHARED = "100.64.201", "fdc9:0:0:201:"
_BELOW = "172.31.255"
_BELOW_ID, BELOW_PORT, _BELOW_OVERHEAD = 7, 8472, 50
QUEUE_MS = 200
"""The queue of a slow link: as large as in common routers."""


def ip(network: "Network", node: str, *lines: str, family: Family | None = None) -> None:
    """Run lines of ip(8) in a node's namespace. family: which it would not guess, as of rules. Raises LabError."""
    options = () if family is None else (f"-{family}",)
    words = (*options, "-n", network.names.namespace(node), "-batch", "-")
    run([program("ip"), *words], text="\n".join([*lines, ""]))


def link_mtu(size: int) -> Part:
    """All links of the underlay carry packets of this size, and the tunnel's MTU is right for it."""
    return Part(f"links of {size} bytes", shape=lambda plan: _carrying(plan, size))


def _carrying(plan: Blueprint, size: int) -> Blueprint:
    most = size - OVERHEAD[plan.product]
    # wireguard-go fills packets up to multiples of sixteen bytes; in a container it does not learn the limit, the MTU.
    return replace(plan, link_mtu=size, tunnel_mtu=most - most % 16 if plan.product == "wireguard" else most)


# Translations


def home_router() -> Part:
    """a is behind a home router: it masquerades IPv4, delegates an IPv6 network, and lets no stranger in."""

    def shape(plan: Blueprint) -> Blueprint:
        return replace(plan, gateways=(*plan.gateways, GATEWAY))

    def underlay(network: "Network") -> None:
        inner = network.plan.outer("a")
        _cable(network, (GATEWAY, HOME, HOME_GATEWAY), (inner, UNDERLAY, HOME_ADDRESS))
        ip(network, ROUTER, f"route add {_HOME_NETWORK} via {underlay_address('a', 6)}")
        _route_for(network, GATEWAY, "masquerade")

    return Part("a is behind a home router", shape=shape, underlay=underlay)


def carrier() -> Part:
    """The home router's own address is one of the carrier's, which translates it again, to other ports."""

    def shape(plan: Blueprint) -> Blueprint:
        return replace(plan, gateways=(*plan.gateways, CARRIER))

    def underlay(network: "Network") -> None:
        ours, theirs = (_numbered(_SHARED, number) for number in (1, 2))
        _cable(network, (CARRIER, CUSTOMER, ours), (GATEWAY, UNDERLAY, theirs))
        ip(network, CARRIER, f"route add {_HOME_NETWORK} via {theirs[6]}")
        _route_for(network, CARRIER, "masquerade random")

    return Part("the carrier translates the address of a's home router", shape=shape, underlay=underlay)


def _numbered(network: tuple[str, str], number: int) -> dict[Family, str]:
    return {4: f"{network[0]}.{number}", 6: f"{network[1]}:{number}"}


def _of_a() -> dict[Family, str]:
    return {family: underlay_address("a", family) for family in FAMILIES}


_HOME_NETWORK = "fdc9:0:0:301::/64"
_End = tuple[str, str, Mapping[Family, str]]


def _cable(network: "Network", upper: _End, lower: _End) -> None:
    """A link between two namespaces: (namespace, device, its addresses); the upper one is the lower one's gateway."""
    (above, near, gateways), (below, far, addresses) = upper, lower
    # A home network carries at least Ethernet's 1500, also where its uplink carries less.
    mtu = max(1500, network.plan.link_mtu)
    peer = f"peer name {far} mtu {mtu} netns {network.names.namespace(below)}"
    ip(network, above, f"link add {near} mtu {mtu} type veth {peer}", *_addressed(near, gateways))
    ip(network, below, *_addressed(far, addresses), *_default_routes(gateways))


def _addressed(device: str, addresses: Mapping[Family, str]) -> list[str]:
    v4, v6 = addresses[4], addresses[6]
    return [f"addr add {v4}/24 dev {device}", f"addr add {v6}/64 dev {device} nodad", f"link set {device} up"]


_EVERYTHING: Mapping[Family, str] = {4: "0.0.0.0/0", 6: "::/0"}


def _default_routes(gateways: Mapping[Family, str], more: str = "") -> list[str]:
    return [f"route add {prefix} via {gateways[family]} {more}" for family, prefix in _EVERYTHING.items()]


def _route_for(network: "Network", node: str, translation: str) -> None:
    """Let a gateway forward, translate IPv4 on its uplink, and drop what nobody behind it asked for."""
    with inside(network.names.namespace(node)):
        set_sysctl("net/ipv4/ip_forward", 1)
        set_sysctl("net/ipv6/conf/all/forwarding", 1)
    network.nft(
        node,
        f"postrouting oifname {UNDERLAY} meta nfproto ipv4 {translation}",
        f"forward iifname {UNDERLAY} ct state {{ new, invalid }} drop",
    )


# Other links


def second_uplink() -> Part:
    """a, or its host, has a second uplink in another network; each answers on the uplink that it was asked on."""

    def underlay(network: "Network") -> None:
        node, size = network.plan.outer("a"), network.plan.link_mtu
        ours, theirs = (_numbered(SECOND_NETWORK, number) for number in (1, 2))
        peer = f"peer name {SECOND_UPLINK} mtu {size} netns {network.names.namespace(node)}"
        device = f"{router_link('a')}-2"
        ip(network, ROUTER, f"link add {device} mtu {size} type veth {peer}", *_addressed(device, ours))
        first = {family: network.plan.gateway("a", family) for family in FAMILIES}
        own = HOME_ADDRESS if network.plan.translated("a") else _of_a()
        ip(
            network,
            node,
            *_addressed(SECOND_UPLINK, theirs),
            *(line.replace("add", "del") for line in _default_routes(first)),
            *_default_routes(first, "metric 100"),
            *_default_routes(ours, "metric 200"),
        )
        for family in FAMILIES:
            lines = [*_by_source(own[family], first[family], 101), *_by_source(theirs[family], ours[family], 102)]
            ip(network, node, *lines, family=family)

    return Part("a has a second uplink", underlay=underlay)


def _by_source(address: str, gateway: str, table: int) -> list[str]:
    """Packets from an uplink's address leave by that uplink."""
    return [
        f"rule add from {address} lookup {table} priority {table}",
        f"route add default via {gateway} table {table}",
    ]


def tunnel_below() -> Part:
    """a's uplink is itself a tunnel to the router, a VXLAN, and the overlay's MTU is right for it."""

    def shape(plan: Blueprint) -> Blueprint:
        return _carrying(plan, plan.link_mtu - _BELOW_OVERHEAD)

    def underlay(network: "Network") -> None:
        node = network.plan.attached("a")
        _tunnel_instead(network, ROUTER, router_link("a"), f"below-{router_link('a')}", (1, 2))
        _tunnel_instead(network, node, UNDERLAY, PHYSICAL, (2, 1))
        ip(network, node, *_default_routes({family: gateway_address("a", family) for family in FAMILIES}))

    return Part("a's uplink is a tunnel", shape=shape, underlay=underlay)


def _tunnel_instead(network: "Network", node: str, device: str, physical: str, ends: tuple[int, int]) -> None:
    """A VXLAN with the name and the addresses of a device, which carries it under another name."""
    mtu, (local, remote) = network.plan.link_mtu, (f"{_BELOW}.{end}" for end in ends)
    addresses = _addresses(network, node, device)
    ip(
        network,
        node,
        f"link set {device} down",
        f"link set {device} name {physical} mtu {mtu + _BELOW_OVERHEAD}",
        f"addr flush dev {physical}",
        f"addr add {local}/30 dev {physical}",
        f"link set {physical} up",
        f"link add {device} mtu {mtu} type vxlan id {_BELOW_ID} dstport {BELOW_PORT} local {local} remote {remote}",
        *(f"addr add {address} dev {device} nodad" for address in addresses),
        f"link set {device} up",
    )


def _addresses(network: "Network", node: str, device: str) -> list[str]:
    """The addresses of a device, with the length of their network."""
    (found,) = json.loads(run(network.command(node, program("ip"), "-j", "addr", "show", "dev", device)))
    own = (entry for entry in found["addr_info"] if entry["scope"] == "global")
    return [f"{entry['local']}/{entry['prefixlen']}" for entry in own]


def rate(kbit: int, *, up_kbit: int | None = None, queue_ms: int = QUEUE_MS) -> Part:
    """a's link carries this much in each direction, and queues as common routers do.

    up_kbit: what it carries of a's own packets, where that differs. queue_ms: how long a packet may wait in its queue.
    """
    up = kbit if up_kbit is None else up_kbit

    def underlay(network: "Network") -> None:
        burst = network.plan.link_mtu + 100
        for node, device, carried in (
            (network.plan.attached("a"), UNDERLAY, up),
            (ROUTER, router_link("a"), kbit),
        ):
            words = ("root", "tbf", "rate", f"{carried}kbit", "burst", str(burst), "latency", f"{queue_ms}ms")
            run(network.command(node, program("tc"), "qdisc", "replace", "dev", device, *words))

    return Part(f"a's link carries {up} kbit/s up and {kbit} kbit/s down", underlay=underlay)
