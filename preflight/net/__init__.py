"""The I/O shells that a check may use, bound to one run's settings; each is imported when first used."""

import os
from functools import cached_property, partial
from typing import TYPE_CHECKING

from preflight.model.event import Listener, telling
from preflight.net.control import elsewhere
from preflight.net.control.destination import SecretWay
from preflight.overlay.wgquick import stopped
from preflight.proto.control.http import passed_over
from preflight.proto.control.placement import inside, lead_inside, meant_places

if TYPE_CHECKING:
    from asyncio import Event
    from collections.abc import Callable, Iterable, Sequence

    from preflight.model.control import ControlError, HttpAnswer, NodeList
    from preflight.model.enrolment import LeftBehind
    from preflight.model.flow import Protocol
    from preflight.model.overlay import Fact, OverlayState, Withheld
    from preflight.model.own_nat import OwnNat
    from preflight.model.path import StampStats
    from preflight.model.peer import Peer
    from preflight.model.product_ping import ProductPing
    from preflight.model.remedy import Remedies
    from preflight.model.roles import ScopeTrial
    from preflight.model.tcp import Interception
    from preflight.net.control.client import ControlClient
    from preflight.net.control.enrolment import EnrolmentSession
    from preflight.net.control.other_bearer import OtherBearer
    from preflight.net.flow_routes import FlowRoutes
    from preflight.net.icmp.probes import Icmp
    from preflight.net.kernel import Kernel
    from preflight.net.load.probes import LoadProbes
    from preflight.net.names import Resolver
    from preflight.net.pmtu.search import PathMtuProbes
    from preflight.net.secrets.local import LocalSecrets
    from preflight.net.stamp.path import PathProbes
    from preflight.net.stamp.quality import Quality
    from preflight.net.stun.nat import NatProbes
    from preflight.net.stun.servers import Stun
    from preflight.net.tcp.connect import Tcp
    from preflight.net.turns import Starts, Turns
    from preflight.net.way.endpoints import Watch
    from preflight.net.way.follow import PacketWays
    from preflight.proto.control.url import ControlUrl
    from preflight.proto.way.beyond import Beyond
    from preflight.proto.way.observation import Death
    from preflight.settings.load import Settings

WATCHES = "overlay.key"
"""The check that asks whether the endpoint of a peer in trouble goes to and fro."""
FIRST_SYN_S = 0.8
"""A lost SYN is sent again after 1 s."""
TWIN_S = 4.0
"""For a control plane at a URL that may be right."""


class Net:
    """Facade over the shells; holds no measurement and no verdict.

    listener: gets the events of all shells. planned: ids of the run's checks.
    """

    def __init__(self, settings: "Settings", listener: Listener | None = None) -> None:
        self._settings = settings
        self.listener = listener
        self._overlay: OverlayState | None = None
        self._first_overlay: OverlayState | None = None
        self.planned: frozenset[str] = frozenset()

    @cached_property
    def segments_vanish(self) -> "Event":
        """Set once it is shown that full segments to the control plane, or from it, are lost for their size."""
        from asyncio import Event

        return Event()

    @cached_property
    def path(self) -> "PathProbes":
        """STAMP sessions, and requests to the peer's responder by mailbox."""
        from preflight.net.stamp.path import PathProbes

        return PathProbes(self._settings, self.control, listener=self.listener)

    def quality(self, decided: "Callable[[Peer, StampStats], bool]", peers: int) -> "Quality":
        """How good the paths are. decided: whether sessions are enough for a finding; peers: how many answer."""
        from preflight.net.stamp.quality import Quality

        return Quality(self.path, self.turns, self._settings.thresholds, decided, self.troubled, peers)

    def troubled(self, *peers: "Peer") -> None:
        """Packets of peers are lost, or may be: from now on it is watched where they are, if a check asks later."""
        self.watch.begin(peers)

    @cached_property
    def turns(self) -> "Turns":
        """The turns of a run's checks: what one found next to others it looks at again in `turns.alone_instead()`."""
        from preflight.net.turns import Turns

        return Turns()

    def starts(self, shortest_s: float) -> "Starts":
        """When each of many short measurements may begin, none sooner after another than `shortest_s`."""
        from preflight.net.turns import Starts

        return Starts(shortest_s)

    @cached_property
    def watch(self) -> "Watch":
        """What is watched before packets are followed."""
        from preflight.net.way.endpoints import Watch

        return Watch(self.overlay, WATCHES in self.planned)

    @cached_property
    def ways(self) -> "PacketWays":
        """The ways of packets, station by station."""
        from preflight.net.way.follow import PacketWays

        shells, begun = (self.path, self.overlay, self.listener, self.watch), lambda: self._first_overlay
        return PacketWays(*shells, begun=begun, refused=self.icmp.was_refused, trace_rules=self._settings.trace)

    @cached_property
    def nat(self) -> "NatProbes":
        """What the peers' responders see of a NAT on the way."""
        from preflight.net.stun.nat import NatProbes

        return NatProbes(self._settings, listener=self.listener)

    @cached_property
    def pmtu(self) -> "PathMtuProbes":
        """Path-MTU searches, forward and reverse."""
        from preflight.net.pmtu.search import PathMtuProbes

        return PathMtuProbes(self._settings, listener=self.listener)

    @cached_property
    def load(self) -> "LoadProbes":
        """Load towards the peers' responders, on request."""
        from preflight.net.load.probes import LoadProbes

        return LoadProbes(self._settings, listener=self.listener)

    @cached_property
    def icmp(self) -> "Icmp":
        """Echo and traceroute."""
        from preflight.net.icmp.probes import Icmp

        return Icmp(listener=self.listener)

    @cached_property
    def stun(self) -> "Stun":
        """What STUN servers see of this node."""
        from preflight.net.stun.servers import Stun

        return Stun(self._settings.secrets.key_for, listener=self.listener)

    @cached_property
    def kernel(self) -> "Kernel":
        """Links, addresses, routes, rules, sysctls and firewall as the kernel reports them."""
        from preflight.net.kernel import Kernel

        return Kernel(self.listener)

    @cached_property
    def dns(self) -> "Resolver":
        """Name resolution, resolver by resolver."""
        from preflight.net.names import Resolver

        return Resolver(listener=self.listener)

    @cached_property
    def tcp(self) -> "Tcp":
        """TCP connections and TLS handshakes."""
        from preflight.net.tcp.connect import Tcp

        return Tcp(self.listener)

    def lent(self, settings: "Settings") -> "Net":
        """The same for settings that also name the responders which this run has started; it has used no shell yet."""
        other = Net(settings, self.listener)
        other._overlay = self._overlay
        return other

    async def aclose(self) -> None:
        """Close what was opened; this creates no client that nobody used."""
        for opened in vars(self).keys() & {"watch", "ways", "control", "routes"}:
            await getattr(self, opened).aclose()

    @cached_property
    def routes(self) -> "FlowRoutes":
        """How the kernel would send a flow, also for each of hundreds of requests that carry a secret."""
        from preflight.net.flow_routes import FlowRoutes

        return FlowRoutes(self.kernel, self.listener)

    @cached_property
    def control(self) -> "ControlClient":
        """The client of the control plane, with the credentials of the settings."""
        return self.new_control()

    def new_control(self) -> "ControlClient":
        """The same client on new connections; close it."""
        from preflight.net.control.client import ControlClient

        way = SecretWay(self.overlay, self.routes.routes_to, self._overlay)
        return ControlClient.from_settings(self._settings, way, self.listener, self.dns.known)

    @cached_property
    def secrets(self) -> "LocalSecrets":
        """This node's own secrets, and where they are."""
        from preflight.net.secrets.local import LocalSecrets

        return LocalSecrets(self._settings)

    async def foreign_scope(self) -> "ScopeTrial":
        """Join under a scope that nobody has, and leave again; this writes to the cluster."""
        from preflight.net.control.scope import try_foreign_scope

        return await try_foreign_scope(self._settings, self.control, self.listener)

    async def left_behind(self, url: str, *, remove: bool) -> "list[LeftBehind]":
        """What earlier runs of this user left on the control plane at `url`; removing it writes to the cluster."""
        from preflight.net.control.left_behind import look, take_back

        return await take_back(url, self.control) if remove else look(url)

    async def control_at(self, url: "ControlUrl", address: str, timeout_s: float) -> bool:
        """Whether a control plane answers `GET /health` of a URL at an address; without proxy and bearer."""
        from preflight.net.control.living import answers_at

        return await answers_at(url, address, self._settings.control.ca_file, timeout_s, self.listener)

    async def health_at(self, url: "ControlUrl", timeout_s: float) -> "HttpAnswer | None":
        """What answers `GET /health` at another URL than the configured one; nothing secret is sent there."""
        from preflight.net.control.living import health_at

        return await health_at(url, self._settings.control.ca_file, timeout_s, self.listener)

    async def control_lives(self, url: "ControlUrl", timeout_s: float) -> bool:
        """Whether a healthy control plane answers there."""
        from preflight.net.control.living import is_healthy

        return is_healthy(await self.health_at(url, timeout_s))

    async def past_health(self, health: "HttpAnswer | ControlError | None") -> "tuple[HttpAnswer, ...]":
        """Answers of a control plane's API where only `/health` is answered by another server, such as a gateway."""
        return await elsewhere.past_health(self.control, health)

    async def held_back(self, usual_ms: float) -> "HttpAnswer | None":
        """A quick answer of `GET /health` after a pause, where those in quick succession take `usual_ms`."""
        from preflight.net.control.held_back import held_back

        return await held_back(self.control, usual_ms)

    async def keeps_a_slash(self) -> bool:
        """Whether a gateway takes the control URL's prefix away and not the slash behind it."""
        return await elsewhere.keeps_a_slash(self.control)

    async def better_url(self, url: "ControlUrl", address: str, overlay: "OverlayState | None") -> "ControlUrl | None":
        """The only place at which a control plane answers, of those that a URL may mean at whose address none does."""
        from preflight.net.control.living import the_only_one

        places = meant_places(url, address, overlay)
        return await the_only_one(places, self._settings.control.ca_file, TWIN_S, self.listener)

    async def refusal_of(self, host: "Peer", port: int, overlay: "OverlayState | None") -> "Death | None":
        """Why this node's kernel sends no TCP to a host; None if it does, or cannot be asked."""
        from preflight.net.way.connection import refusal_of

        return await refusal_of(host, port, overlay, self.listener)

    async def filtered(self, address: str, port: int) -> "Death | None":
        """Which rule of this node's own firewall stops connections there; None if none does, or nobody may look."""
        from preflight.net.way.connection import filtered, question

        async def attempt() -> bool:
            return (await self.tcp.connect(address, port, FIRST_SYN_S)).outcome == "refused"

        return await filtered(question(address, port, "tcp"), attempt, self.listener)

    async def unasked(self, resolver: str, name: str) -> "Death | None":
        """Which rule of this node's own firewall keeps a resolver's answers about a name away; as `filtered`."""
        from preflight.net.way.connection import filtered, question

        async def attempt() -> bool:
            return await self.dns.once(resolver, name, FIRST_SYN_S)

        return await filtered(question(resolver, self.dns.port, "udp"), attempt, self.listener)

    async def taken_by_rules(
        self, overlay: "OverlayState", peers: "Sequence[Peer]", silent: "Sequence[Peer]", control: "ControlUrl | None"
    ) -> "tuple[Death, ...]":
        """Where this node's rules send the packets of an overlay into another one. silent: peers without any answer."""
        from preflight.net.way.rule_order import taken_by_rules

        return await taken_by_rules(overlay, peers, silent, control, self.listener)

    async def way_inside(
        self, url: "ControlUrl", addresses: "Sequence[str]", overlay: "OverlayState | None", source: str | None
    ) -> "Remedies":
        """How clients of a URL of that source, to these addresses, are led through the tunnel; tried before."""
        twin = inside(url, addresses, overlay)
        lives = twin is not None and await self.control_lives(twin, TWIN_S)
        return lead_inside(url, twin, overlay, source, lives=lives)

    async def nobody_answers(
        self, overlay: "OverlayState | None", peers: "Iterable[str]", timeout_s: float
    ) -> "Interception | None":
        """What answers HTTP outside the tunnels in the place of an address that no host has; None if nothing does."""
        from preflight.net.way.nobody import ask_nobody

        return await ask_nobody(overlay, peers, timeout_s, self.listener)

    async def beyond_gateway(self, overlay: "OverlayState | None") -> "Sequence[Beyond]":
        """How far this node gets past the tunnels towards a few of their endpoints that are behind a gateway."""
        from preflight.net.way.beyond import beyond_gateway

        return await beyond_gateway(overlay, self.listener)

    def proxy_passed_over(self, url: "ControlUrl") -> tuple[str, str] | None:
        """The variable that names a SOCKS proxy for a URL, which no worker uses, and its scheme."""
        return passed_over(url, os.environ)

    async def lists_of_nodes(self) -> "Sequence[NodeList]":
        """The list of nodes in a few answers, each on another connection: a balancer may ask several control planes."""
        from preflight.net.control.several import lists

        return await lists(self.new_control, self._settings.secrets.token)

    @cached_property
    def other_bearer(self) -> "OtherBearer":
        """What the control plane accepts after it refused this node's bearer."""
        from preflight.net.control.other_bearer import OtherBearer

        return OtherBearer(self.control, self._settings.secrets.bearers, self.new_control)

    def enrolment(self) -> "EnrolmentSession":
        """A new enrolment of this node; this writes to the cluster."""
        from preflight.net.control.enrolment import EnrolmentSession

        return EnrolmentSession(self._settings, self.control, self.listener, self.segments_vanish)

    async def overlay(self) -> "OverlayState | None":
        """Read the overlay's state again."""
        from preflight.overlay.read import read_overlay

        peers = [peer.address for peer in self._settings.peers]
        self._overlay = await read_overlay(self._settings.overlay, peers, self.listener, self.kernel.routes_to)
        self._first_overlay = self._first_overlay or self._overlay
        return self._overlay

    def stopped_tunnels(self, links: "Sequence[str]") -> tuple[str, ...]:
        """The interfaces that a wg-quick file describes and that are not there, the peers' own if there are any."""
        return stopped(links, [peer.address for peer in self._settings.peers])

    async def with_routes(
        self, overlay: "OverlayState | None", addresses: "Iterable[str]", port: int = 0, protocol: "Protocol" = "tcp"
    ) -> "OverlayState | None":
        """The overlay, with how the kernel sends to these addresses now; unchanged where it cannot be asked.

        port: of what is sent there, so that the firewall's marks and the rules for ports count too; 0: any.
        """
        from preflight.net.overlay_routes import with_routes

        ask = partial(self.routes.routes_to, port=port, protocol=protocol) if port else self.kernel.routes_to
        return await with_routes(overlay, addresses, ask, self.listener)

    async def overlay_facts(self, product: str) -> "dict[str, Fact]":
        """What a product's daemon knows in addition to its state; nothing for other products."""
        if product != "tailscale":
            return {}
        from preflight.overlay.tailscale_facts import read_facts

        return await read_facts(telling(self.listener, "overlay.local", product))

    async def overlay_nat(self, product: str, servers: "Sequence[str]" = ()) -> "OwnNat | None":
        """What a product knows of the NAT before this node, else what these STUN servers see of it."""
        from preflight.overlay import own_nat

        links, tell = await self.kernel.links(), telling(self.listener, "overlay.local", product)
        return await own_nat.known_nat(product, links, lambda: self.stun.ask(servers), tell)

    async def overlay_names(self, product: str) -> "tuple[Withheld, ...]":
        """Domains whose names a product resolves, where this node does not let it; nothing for other products."""
        from preflight.overlay.own_names import read_names

        return await read_names(product, telling(self.listener, "overlay.local", product))

    async def overlay_pings(self, product: str, address: str) -> "tuple[ProductPing, ...]":
        """A product's own pings of a peer; nothing for products without any, or if its daemon refuses to ping."""
        if product != "tailscale":
            return ()
        from preflight.overlay.tailscale_ping import pings

        return await pings(address, telling(self.listener, "overlay.local", product))
