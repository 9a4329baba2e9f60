"""Faults between a's look-up of the control host and the first byte: the route to it, and the connection."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from preflight.lab.axes.control import HOSTS
from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint, Server
from preflight.lab.part import Part, planned
from preflight.lab.processes import program, run
from preflight.lab.stations import asks
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.proofs import Proof
from preflight.lab.stations.url import at_host, knows_members
from preflight.lab.stations.words import at_control_host
from preflight.lab.topology import CONTROL_NAME
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_ROUTE, _CONNECT = Place("request", "route"), Place("request", "connect")
_EVERYTHING_INSIDE = ("default", "halves")
_OWN_ROUTE = ("host", "per-peer")
_DEAD, _DEAD_TOO = 0xDEAD, 222
_RULE = 60
"""Before any rule of a product."""


def _ip(network: "Network", *words: str) -> str:
    """Run ip(8) in a's namespace."""
    return run(network.command("a", program("ip"), *words))


def _route_to(network: "Network", address: str) -> dict[str, Any]:
    """How a's kernel sends to an address; without a device if it refuses."""
    found: list[dict[str, Any]] = json.loads(_ip(network, "-json", "route", "get", address))
    return found[0]


def _leaves_outside(address: Callable[["Network"], str]) -> Proof:
    """What a sends to an address does not go into its tunnel."""

    def prove(network: "Network") -> None:
        device = _route_to(network, address(network))["dev"]
        if device.startswith("pl-"):
            raise NotThereError(f"{address(network)} is reached through {device}")

    return prove


# The route


def _lan(setup: Setup) -> tuple[Part, ...]:
    def shape(plan: Blueprint) -> Blueprint:
        return replace(plan, control_url=at_host("{underlay}")(plan.control_url or ""), server_listens_on_all=True)

    return (Part("a's control URL has the control host's address outside the overlay", shape=shape),)


def _lan_url(network: "Network") -> str:
    return asks.places_of(network).underlay


def _lan_excluded(setup: Setup) -> str | None:
    if setup.control != "address":
        return "the URL in a's settings has no address"
    if setup.transport == "prefix" or setup.home == "behind":
        return "the control plane has one address only"
    if setup.routes in _EVERYTHING_INSIDE:
        return "all that a sends goes into the tunnel"
    return _no_lan(setup)


def _no_lan(setup: Setup) -> str | None:
    return "a container has no uplink" if setup.namespace == "container" else None


def _lan_is(setup: Setup) -> Truth:
    return Truth(
        "control.url-off-overlay",
        "control",
        place=_ROUTE,
        deciding=Deciding("interface", lambda network: str(_route_to(network, _lan_url(network))["dev"])),
        # By WireGuard a node sees which peer has this address as its endpoint.
        heals="file" if knows_members(setup) else "nothing",
        vague=("control.plain-http",),
    )


def _lan_is_used(network: "Network") -> None:
    asks.url_matches(f"//{re.escape(_lan_url(network))}")(network)
    _leaves_outside(_lan_url)(network)
    # A default-drop firewall of the control host lets nobody in from the LAN, and the URL is wrong then too.
    asks.connection_ends("open", "silent", to=_lan_url)(network)


def _outside(setup: Setup) -> tuple[Part, ...]:
    def shape(plan: Blueprint) -> Blueprint:
        resolvers = tuple(replace(each, answers={CONTROL_NAME: ("{underlay}",)}) for each in plan.resolvers)
        return replace(plan, resolvers=resolvers, server_listens_on_all=True)

    return (Part("the control host's name has its address outside the overlay", shape=shape),)


def _outside_is(setup: Setup) -> Truth:
    return Truth(
        "control.plain-http",
        "control",
        place=_ROUTE,
        deciding=Deciding("answered_address", _lan_url),
        heals="file" if knows_members(setup) else "nothing",
        vague=("control.url-off-overlay",),
    )


def _outside_excluded(setup: Setup) -> str | None:
    if setup.control not in ("dns", "search"):
        return "a asks no resolver for the control host"
    if setup.transport != "plain":
        return "what a sends outside the overlay is encrypted"
    if setup.home == "behind" or setup.routes in _EVERYTHING_INSIDE:
        return "the control host has no address outside the overlay"
    return _no_lan(setup)


def _name_is_outside(network: "Network") -> None:
    asks.leads_to(CONTROL_NAME, _lan_url(network))(network)
    _leaves_outside(_lan_url)(network)


def _leak(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        family = "-6" if ":" in asks.control_address(network) else "-4"
        (default, *_) = json.loads(_ip(network, family, "-json", "route", "show", "default", "table", "main"))
        _ip(network, "route", "add", asks.control_address(network), "via", default["gateway"], "dev", default["dev"])

    return (Part("a route on a sends the control host's overlay address to its LAN", inject=inject),)


def _leak_is(setup: Setup) -> Truth:
    return Truth(
        "overlay.route-leak",
        "control",
        place=_ROUTE,
        deciding=Deciding("interface", lambda network: str(_route_to(network, asks.control_address(network))["dev"])),
        heals="command",
        vague=("control.unreachable", "control.timeout", "control.url-off-overlay", "control.plain-http"),
    )


def _third_only(setup: Setup) -> str | None:
    return "the way to b is also the way to the control plane" if setup.home == "peer" else None


def _leak_excluded(setup: Setup) -> str | None:
    if setup.routes in _OWN_ROUTE:
        return "a has a route for the control host already"
    if setup.user == "ordinary" and setup.routes in ("default", "halves"):
        return "an ordinary user does not see that the tunnel has the control host's address"
    return _no_lan(setup) or _third_only(setup)


def _prohibited(setup: Setup) -> tuple[Part, ...]:
    def inject(network: "Network") -> None:
        family = "-6" if ":" in asks.control_address(network) else "-4"
        _ip(network, family, "rule", "add", "to", asks.control_address(network), "prohibit", "priority", str(_RULE))

    return (Part("a rule of a's routing forbids the control host", inject=inject),)


def _prohibited_is(setup: Setup) -> Truth:
    return Truth(
        "control.unreachable",
        "control",
        place=_ROUTE,
        deciding=Deciding("route_type", "prohibit"),
        heals="command",
    )


# The connection


def _connect_is(code: str, *vague: str, deciding: Deciding | None = None) -> Callable[[Setup], Truth]:
    """Nobody observes at the control host: which rule or program of it does that is for a person there to find."""
    return at_control_host(_CONNECT, code, deciding, *vague)


def _filtered(verdict: str) -> Callable[[Setup], tuple[Part, ...]]:
    def inject(network: "Network") -> None:
        port = asks.places_of(network).control_port
        network.nft(network.plan.control_host, f'input tcp dport {port} {verdict} comment "no control plane"')

    return lambda setup: (Part(f"the control host's firewall says {verdict}", inject=inject),)


def _is_rejected(network: "Network") -> None:
    """a's kernel has a way, and the connection is refused on it; ICMPv6's word for that is the same error as a rule's
    of a.
    """
    _route_to(network, asks.control_address(network))
    asks.connection_ends("unreachable", "forbidden")(network)


def _served_by(kind: Server) -> Callable[[Setup], tuple[Part, ...]]:
    """Another server, or none, at the control plane's address, with no gateway in front of it."""
    return lambda setup: (planned(f"at the control plane's address: {kind}", loopback=True, server=kind, front=None),)


def _with_dead(address: Callable[[Blueprint], str]) -> Callable[[Setup], tuple[Part, ...]]:
    """The control host's name also has an address that nobody has."""

    def shape(plan: Blueprint) -> Blueprint:
        dead = address(plan)
        answers = {CONTROL_NAME: ("{control}", dead)}
        hosts = {"hosts": HOSTS + f"{dead} {CONTROL_NAME}\n"} if "hosts" in plan.etc else {}
        resolvers = tuple(replace(each, answers=answers) for each in plan.resolvers)
        return replace(plan, resolvers=resolvers, etc={**plan.etc, **hosts})

    return lambda setup: (Part("the control host's name has an address that nobody has", shape=shape),)


def _six(plan: Blueprint) -> str:
    return str(ip_network(plan.prefixes[6])[_DEAD])


def _same(plan: Blueprint) -> str:
    """Of the family of the control plane's own."""
    return str(ip_network(plan.prefixes[plan.families[0]])[_DEAD_TOO])


def _dead_is(code: str, address: Callable[[Blueprint], str]) -> Callable[[Setup], Truth]:
    return lambda setup: Truth(
        code,
        "control",
        place=_CONNECT,
        deciding=Deciding("answered_address", lambda network: address(network.plan)),
        # The owner of the name has to take the address away; in a's own hosts file a line does.
        heals="file" if setup.control == "hosts" else "nothing",
        warns=True,
    )


def _is_dead(address: Callable[[Blueprint], str]) -> Proof:
    def prove(network: "Network") -> None:
        dead = address(network.plan)
        if dead not in asks.looked_up(network, CONTROL_NAME):
            raise NotThereError(f"{CONTROL_NAME} has no address {dead}")
        asks.connection_ends("silent", "unreachable", to=lambda network: dead)(network)
        asks.connection_ends("open")(network)

    return prove


def _unnamed(setup: Setup) -> str | None:
    return None if setup.control in ("hosts", "dns", "search") else "the control host has no name"


def _dead_family_excluded(setup: Setup) -> str | None:
    return _unnamed(setup) or (None if setup.families == "both" else "the overlay has one family only")


def _dead_too_excluded(setup: Setup) -> str | None:
    return _unnamed(setup) or ("the control host's address is of a LAN" if setup.home == "behind" else None)


_route = partial(Fault, place=_ROUTE)
_connect = partial(Fault, place=_CONNECT)

FAULTS = (
    _route(
        name="route-lan",
        summary="a's control URL has the control host's address outside the overlay, where it answers too",
        made=_lan,
        expected=_lan_is,
        proof=_lan_is_used,
        excluded=_lan_excluded,
    ),
    _route(
        name="route-outside",
        summary="the control host's name leads outside the overlay, where tokens would be sent in clear",
        made=_outside,
        expected=_outside_is,
        proof=_name_is_outside,
        excluded=_outside_excluded,
    ),
    _route(
        name="route-leak",
        summary="a route on a sends the control host's overlay address to its LAN",
        made=_leak,
        expected=_leak_is,
        proof=_leaves_outside(asks.control_address),
        excluded=_leak_excluded,
    ),
    _route(
        name="route-prohibited",
        summary="a rule of a's routing forbids the control host",
        made=_prohibited,
        expected=_prohibited_is,
        proof=asks.connection_ends("forbidden"),
        excluded=_third_only,
    ),
    _connect(
        name="connect-refused",
        summary="nobody listens at the control plane's address",
        made=_served_by("absent"),
        # A reset is all that comes back: what should listen there, and how it is started, only its host knows.
        expected=at_control_host(_CONNECT, "control.refused", None),
        proof=asks.connection_ends("refused"),
    ),
    _connect(
        name="connect-silent",
        summary="the control host drops connections to the control plane's port",
        made=_filtered("drop"),
        expected=_connect_is("control.timeout", "control.unreachable"),
        proof=asks.connection_ends("silent"),
    ),
    _connect(
        name="connect-rejected",
        summary="the control host's firewall rejects connections to the control plane's port",
        made=_filtered("reject with icmpx admin-prohibited"),
        expected=_connect_is(
            "control.unreachable", "control.refused", deciding=Deciding("offender", asks.control_address)
        ),
        proof=_is_rejected,
    ),
    _connect(
        name="connect-reset",
        summary="what listens at the control plane's address resets each connection",
        made=_served_by("resets"),
        expected=_connect_is(
            "control.connection-reset",
            *("control.refused", "control.tls-failed", "control.bad-answer", "control.unreachable", "control.timeout"),
            deciding=Deciding("problem", "reset"),
        ),
        proof=asks.connection_ends("reset"),
    ),
    _connect(
        name="connect-family",
        summary="the control host's name also has an IPv6 address that nobody has",
        made=_with_dead(_six),
        expected=_dead_is("control.address-family", _six),
        proof=_is_dead(_six),
        excluded=_dead_family_excluded,
    ),
    _connect(
        name="connect-dead-address",
        summary="the control host's name also has the address of an earlier control host, which nobody has now",
        made=_with_dead(_same),
        expected=_dead_is("control.dead-address", _same),
        proof=_is_dead(_same),
        excluded=_dead_too_excluded,
    ),
)
