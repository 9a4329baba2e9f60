"""Faults of where a tunnel's packets go and come from: endpoints that lead nowhere, and answers from elsewhere."""

import json
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.names import ROUTER
from preflight.lab.network import UNDERLAY
from preflight.lab.part import Part, Step
from preflight.lab.processes import start, wait_for_words
from preflight.lab.stations import outside, outside_packets
from preflight.lab.stations import outside_proofs as proofs
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.network import PLACE
from preflight.lab.stations.outside import family_of, ip, own_uplink, remote_end
from preflight.lab.stations.words import dead, never_up
from preflight.lab.topology import Family, gateway_address, prefix_length, underlay_address
from preflight.lab.truth import Deciding, Place, Truth
from preflight.model.host_port import join_host_port
from preflight.programs import python_module

if TYPE_CHECKING:
    from preflight.lab.network import Network
    from preflight.lab.stations.proofs import Proof

_ROUTE = Place("packet", "route-outer")
_OWN_SESSION = Place("packet", "session", "receiver")
_ELSEWHERE: dict[Family, tuple[str, str]] = {4: ("192.168.79.2", "192.168.79.0/24"), 6: ("fd77::2", "fd77::/64")}
"""The address of the remote end in its own LAN, and that LAN, which is nowhere near a."""
_LOOPBACK: dict[Family, str] = {4: "127.0.0.1", 6: "::1"}
_RELAY_PORT = 5555
_OWN_PUBLIC = "44.128.0.9"
"""The public address of the router, behind which both ends are. It exists in the lab's namespaces only."""
_OTHER_UPLINK = 0x4E
_PORTAL_READY_S = 10.0
_LOGIN_PORT, _DNS_PORT = 8081, 5353


def _part(summary: str, inject: Step) -> tuple[Part, ...]:
    return (Part(summary, inject=inject),)


# Endpoints that lead nowhere


def _point_at(network: "Network", address: str) -> None:
    """a has this endpoint and no session; b does not know where a is, and cannot call."""
    _, port, _ = outside.endpoint(network, "a")
    outside.forget(network, "b")
    outside.forget(network, "a", join_host_port(address, port))


def _private(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        address, lan = _ELSEWHERE[family_of(network.plan)]
        ip(network, ROUTER, "route", "add", "blackhole", lan)
        _point_at(network, address)

    return _part("a's endpoint for b is b's address in a LAN that is elsewhere", inject)


def _hairpin(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        gateways = network.plan.gateways
        ip(network, gateways[0] if gateways else ROUTER, "addr", "add", f"{_OWN_PUBLIC}/32", "dev", "lo")
        _point_at(network, _OWN_PUBLIC)

    return _part("a's endpoint for b is the public address of the router that both are behind", inject)


def _relay(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        outside.forget(network, "b")
        outside.forget(network, "a", join_host_port(_LOOPBACK[family_of(network.plan)], _RELAY_PORT))

    return _part("a's endpoint for b is a program on a that carries the packets on, and it does not run", inject)


def _relay_is(setup: Setup) -> Truth:
    endpoint = Deciding("endpoint", lambda network: outside.endpoint_text(network, "a"))
    return _narrower(setup, never_up(setup, place=_ROUTE, deciding=endpoint, heals="nothing"), "overlay.endpoint-loop")


def _endpoint_is(setup: Setup) -> Truth:
    """No place: the packets leave by the uplink, and a company's routers may lead to a private address.

    What nobody hears behind the gateway proves no death at a station of a. By which address b is reached from outside,
    nobody says to a tunnel that never came up.
    """
    endpoint = Deciding("endpoint", lambda network: outside.endpoint_text(network, "a"))
    return never_up(setup, deciding=endpoint, heals="nothing")


def _narrower(setup: Setup, truth: Truth, code: str) -> Truth:
    """With the code that only the packets on the wire show, which need root."""
    return truth if setup.user != "root" else replace(truth, code=code, vague=(truth.code, *truth.vague))


def _hairpin_is(setup: Setup) -> Truth:
    # b's address in the network that both are in, nobody here knows.
    truth = never_up(setup, place=_ROUTE, deciding=Deciding("offender", _OWN_PUBLIC), heals="nothing")
    return _narrower(setup, truth, "overlay.endpoint-hairpin")


def endpoint_excluded(setup: Setup) -> str | None:
    """Why a's tunnel cannot get another endpoint and begin again on a set-up."""
    if setup.product != "wireguard":
        return "the lab starts the tunnels of WireGuard again, and no others"
    if setup.layout == "hub":
        return "the hub knows where its spokes are"
    if setup.routes == "halves":
        return "two halves of a default route lead the tunnel's own packets into it"
    return own_uplink(setup, "a")


def _hairpin_excluded(setup: Setup) -> str | None:
    if setup.second_vpn != "none":
        return "the router is the remote end of the second VPN, at this port too"
    return "routers translate IPv4 only" if setup.outer == "ipv6" else endpoint_excluded(setup)


def _points_at(address: str) -> "Proof":
    """a sends to this address, or to one of these, and never had a session."""

    def prove(network: "Network") -> None:
        found, _, _ = outside.endpoint(network, "a")
        if found not in address.split():
            raise NotThereError(f"a's endpoint is {found}")
        proofs.never_shook_hands("a")(network)

    return prove


# Answers from elsewhere


def other_address(network: "Network") -> str:
    """A second address of the remote end, in its own network."""
    family = family_of(network.plan)
    own = underlay_address(remote_end(network.plan), family)
    return str(ip_network(f"{own}/{prefix_length(family)}", strict=False)[_OTHER_UPLINK])


def _answers_elsewhere(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        plan, other = network.plan, other_address(network)
        end, family = remote_end(plan), family_of(plan)
        ip(network, end, "addr", "add", f"{other}/{prefix_length(family)}", "dev", UNDERLAY)
        word = "ip" if family == 4 else "ip6"
        there, port = underlay_address("a", family), outside.port_of(plan)
        sent, received = f"{word} daddr {there} udp sport {port}", f"{word} saddr {there} udp dport {port}"
        outside.translate(network, end, sent, received, f"snat {word} to {other}")

    return _part("the remote end of a's tunnel answers from its other address", inject)


def _answers_elsewhere_is(setup: Setup) -> Truth:
    if setup.nat != "none":
        return dead(setup, "reverse", where="peer")  # the translation drops them, and a sees nothing
    origin = Deciding("answered_from", other_address)
    # Which of its rules or routes makes b answer from there only b could see.
    truth = dead(setup, "reverse", place=_OWN_SESSION, deciding=origin, proven=True, heals="nothing", where="peer")
    return _narrower(setup, truth, "overlay.endpoint-answers-elsewhere")


def _answers_elsewhere_excluded(setup: Setup) -> str | None:
    if setup.nat == "none" and setup.product != "openvpn":
        return "the tunnel follows its peer to the other address"
    if setup.nat == "none" and setup.namespace != "host":
        return own_uplink(setup, "a")
    return "the hub answers others from there too" if setup.layout == "hub" else None


# A captive portal


def _portal(setup: Setup) -> tuple[Part, ...]:
    """Everything that a asks by DNS or HTTP is answered by the router, and it drops all UDP."""

    def inject(network: "Network") -> None:
        gateway = gateway_address("a", 4)
        answers = {f"*.{domain}": [gateway] for domain in ("com", "net", "org", "test")}
        zone = json.dumps([{"address": gateway, "port": _DNS_PORT, "answers": answers, "truncated": False}])
        for name, words in (("resolver", [zone]), ("redirect", [f"{gateway}:{_LOGIN_PORT}"])):
            argv = network.command(ROUTER, *python_module("preflight.lab.fake_servers", name, *words))
            log, mark = network.names.directory / f"portal-{name}.log", network.names.mark(f"portal-{name}")
            daemon = start(f"portal's {name}", argv, mark=mark, log=log)
            wait_for_words(daemon, "listening on ", 1, proofs.deadline(_PORTAL_READY_S))
        outside.table(network, ROUTER, _PORTAL_RULES)
        folder = network.names.etc("a")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "resolv.conf").write_text(f"nameserver {gateway}\n", encoding="ascii")

    return _part("the router is a captive portal", inject)


_PORTAL_RULES = f"""
table ip portal {{
  chain prerouting {{
    type nat hook prerouting priority -100;
    iifname "to-a" udp dport 53 redirect to :{_DNS_PORT}
    iifname "to-a" tcp dport 80 redirect to :{_LOGIN_PORT}
  }}
}}
table inet portal {{
  chain forward {{
    type filter hook forward priority -10;
    iifname "to-a" drop
    oifname "to-a" ct state new drop
    oifname "to-a" meta l4proto udp drop
  }}
}}
"""


def _portal_excluded(setup: Setup) -> str | None:
    if setup.outer == "ipv6":
        return "the portal of the lab stops IPv4 only"
    if setup.routes in ("default", "halves"):
        return "what a asks the world goes into the tunnel, where no portal answers"
    if setup.control in ("dns", "search"):
        return "a already has a resolver"
    return "the other uplink has no portal" if setup.uplinks != "one" else own_uplink(setup, "a")


FAULTS = (
    Fault(
        name="route-outer-private",
        summary="a's endpoint for b is a private address that no network near a has",
        place=_ROUTE,
        made=_private,
        expected=_endpoint_is,
        proof=_points_at(" ".join(address for address, _ in _ELSEWHERE.values())),
        excluded=endpoint_excluded,
    ),
    Fault(
        name="route-outer-hairpin",
        summary="a's endpoint for b is the public address of a's own router, which refuses it",
        place=_ROUTE,
        made=_hairpin,
        expected=_hairpin_is,
        proof=proofs.all_of(_points_at(_OWN_PUBLIC), outside_packets.refused_by(_OWN_PUBLIC)),
        excluded=_hairpin_excluded,
    ),
    Fault(
        name="route-outer-relay",
        summary="a's endpoint for b is a port of a itself, where a program that carries the packets on should listen",
        place=_ROUTE,
        made=_relay,
        expected=_relay_is,
        proof=_points_at(" ".join(_LOOPBACK.values())),
        excluded=endpoint_excluded,
    ),
    Fault(
        name="network-answers-elsewhere",
        summary="the remote end of a's tunnel answers from its other address",
        place=PLACE,
        made=_answers_elsewhere,
        expected=_answers_elsewhere_is,
        proof=proofs.all_of(proofs.passes("a", "b"), proofs.dies("b", "a")),
        excluded=_answers_elsewhere_excluded,
        alone=True,  # OpenVPN has one remote end for everything, so the control plane's answers do not come either
    ),
    Fault(
        name="network-portal",
        summary="a captive portal answers DNS and HTTP, and lets no UDP pass",
        place=PLACE,
        made=_portal,
        expected=lambda setup: Truth(
            "host.captive-portal", "node", vague=("reach.unreachable", "overlay.no-handshake")
        ),
        proof=proofs.all_of(proofs.dies("a", "b"), proofs.dies("b", "a"), outside_packets.is_redirected()),
        excluded=_portal_excluded,
        alone=True,
    ),
)
