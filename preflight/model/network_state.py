"""All that the kernel says of this node's network at one moment, and what a tunnel has to do with it."""

from dataclasses import dataclass, field

from preflight.model.counters import Counters
from preflight.model.flow import Flow
from preflight.model.ipsec import IpsecPolicy
from preflight.model.kernel import Link, ReversePathFilter
from preflight.model.routing import Arrival, Entry, Lookup, Neighbour, Rule, same_address
from preflight.model.udp_port import UdpPort


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkState:
    """One snapshot. complete: every table that a rule names was read to its last entry. policies: of IPsec.

    lookups: for flows that this node sends, arrivals: for flows that come in, in the order of the questions.
    """

    links: tuple[Link, ...] = ()
    rules: tuple[Rule, ...] = ()
    entries: tuple[Entry, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    lookups: tuple[Lookup, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    filters: ReversePathFilter = field(default_factory=ReversePathFilter)
    counters: Counters = field(default_factory=Counters)
    complete: bool = True
    policies: tuple[IpsecPolicy, ...] = ()

    def lookup(self, flow: Flow) -> Lookup | None:
        """What the kernel said of a flow; None if it was not asked."""
        return next((lookup for lookup in self.lookups if lookup.flow == flow), None)

    def arrival(self, flow: Flow) -> Arrival | None:
        """What the kernel said of a flow that comes in; None if it was not asked."""
        return next((arrival for arrival in self.arrivals if arrival.flow == flow), None)

    def link(self, name: str | None) -> Link | None:
        """An interface by its name."""
        return next((link for link in self.links if link.name == name), None)

    def neighbour(self, interface: str | None, address: str) -> Neighbour | None:
        """The entry for an address on an interface."""
        known = (each for each in self.neighbours if each.interface == interface)
        return next((each for each in known if same_address(each.address, address)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSide:
    """This node's end of the tunnel to one peer, as far as the kernel's word about it depends on the tunnel.

    peer: the target's name, for sentences. interfaces: the devices by which a product's peer owns the address; several
    where the product spreads it. addresses: this node's own inside the tunnel, without their lengths. endpoint: as
    HOST:PORT, None if it cannot be read. owned: whether a peer of the product owns the address; None: the product
    cannot say. without_address: how many of its peers own none of the address's family. mark: the tunnel's own packets
    have it. manages_routes: the product writes the routes, and a route by hand would be lost or in its way. elsewhere:
    its own packets leave in another network namespace, whose routes nobody here can ask for. relay: a program of this
    node has the endpoint's port, to carry the packets on. unheard: nobody on this node has that port.
    """

    peer: str
    product: str
    interfaces: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    endpoint: str | None = None
    listen_port: int | None = None
    owned: bool | None = None
    without_address: int = 0
    mark: int = 0
    manages_routes: bool = False
    elsewhere: bool = False
    relay: UdpPort | None = None
    unheard: bool = False

    def own_address(self, flow: Flow) -> str | None:
        """This node's only address inside the tunnel of a flow's family; None if it has none or several."""
        fitting = [address for address in self.addresses if (":" in address) == flow.is_ipv6]
        return fitting[0] if len(fitting) == 1 else None

    @property
    def interface(self) -> str:
        """The device that packets to the peer belong on."""
        return self.interfaces[0]
