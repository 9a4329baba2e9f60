"""A small machine for tests of a way: two links, a tunnel, and the rules and tables that every Linux has."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_interface, ip_network

from preflight.model.flow import Flow
from preflight.model.kernel import Link
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.routing import Entry, Lookup, Neighbour, Rule
from preflight.proto.way.fib import decide

PEER, OWN, ENDPOINT, UPLINK, GATEWAY = "10.66.0.2", "10.66.0.1", "203.0.113.7", "192.0.2.2", "192.0.2.1"
INNER = Flow(source="", destination=PEER, destination_port=862)
OUTER = Flow(source=UPLINK, destination=ENDPOINT, source_port=51820, destination_port=51820, mark=0)
TUNNEL = TunnelSide(
    peer="b",
    product="wireguard",
    interfaces=("wg0",),
    addresses=(OWN,),
    endpoint=f"{ENDPOINT}:51820",
    listen_port=51820,
    owned=True,
)
LINKS = (
    Link(1, "lo", 65536, up=True, carrier=True, loopback=True, addresses=(ip_interface("127.0.0.1/8"),)),
    Link(2, "eth0", 1500, up=True, carrier=True, addresses=(ip_interface(f"{UPLINK}/24"),), resolves=True),
    Link(3, "wg0", 1420, up=True, carrier=True, kind="wireguard", addresses=(ip_interface(f"{OWN}/24"),)),
)
RULES = tuple(
    Rule(version=version, priority=priority, table=table)
    for version in (4, 6)
    for priority, table in ((0, 255), (32766, 254), (32767, 253))
)


def entry(destination: str, interface: str | None = None, *, table: int = 254, **more: object) -> Entry:
    """One entry, as `ip route` would take it."""
    network = ip_network(destination)
    return Entry(version=network.version, table=table, destination=network, interface=interface, **more)  # type: ignore[arg-type]


ENTRIES = (
    entry("10.66.0.0/24", "wg0", source=OWN),
    entry("192.0.2.0/24", "eth0", source=UPLINK),
    entry("0.0.0.0/0", "eth0", gateway=GATEWAY),
    entry(f"{OWN}/32", "wg0", table=255, type="local"),
)
ROUTER = Neighbour(interface="eth0", address=GATEWAY, state="reachable", hardware="02:00:00:00:00:01")
ERRORS = {
    "none": "Network is unreachable",
    "blackhole": "Invalid argument",
    "unreachable": "No route to host",
    "prohibit": "Permission denied",
}


def state(
    *,
    links: Iterable[Link] = LINKS,
    rules: Iterable[Rule] = RULES,
    entries: Iterable[Entry] = ENTRIES,
    neighbours: Iterable[Neighbour] = (ROUTER,),
    flows: Iterable[Flow] = (INNER, OUTER),
) -> NetworkState:
    """A snapshot whose look-ups answer as a kernel with these tables does."""
    made = NetworkState(links=tuple(links), rules=tuple(rules), entries=tuple(entries), neighbours=tuple(neighbours))
    return replace(made, lookups=tuple(lookup(made, flow) for flow in flows))


def lookup(made: NetworkState, flow: Flow) -> Lookup:
    """The kernel's answer for a flow."""
    found = decide(made, flow)
    if found.entry is None or found.type in ERRORS:
        return Lookup(flow=flow, type=found.type, error=ERRORS.get(found.type, ""))
    link = made.link(found.interface)
    first = str(link.addresses[0].ip) if link and link.addresses else None
    return Lookup(
        flow=flow,
        type=found.type,
        interface=found.interface,
        gateway=found.entry.gateway,
        source=found.entry.source or first,
        table=found.entry.table,
        matched=found.entry.destination,
    )


def changed(name: str, **more: object) -> tuple[Link, ...]:
    """The links, one of them changed."""
    return tuple(replace(link, **more) if link.name == name else link for link in LINKS)  # type: ignore[arg-type]
