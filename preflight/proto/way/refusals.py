"""Who refuses a tunnel's own packets, by the ICMP errors that a tap saw: pure."""

from collections import Counter
from ipaddress import ip_address

from preflight.codes import (
    OVERLAY_ENDPOINT_HAIRPIN,
    OVERLAY_NO_HANDSHAKE,
    REACH_NO_FORWARD,
    REACH_UNREACHABLE,
    Code,
)
from preflight.model.facts import DeathFacts
from preflight.model.remedy import Remedies
from preflight.model.tapped import TapPacket
from preflight.proto.tunnel.advice import daemon_runs, look_at_port
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.session_advice import forwards_to, inner_address, is_up, let_in, let_pass, right_endpoint
from preflight.proto.way.stations import Station
from preflight.proto.way.trace import BLOCKS
from preflight.proto.way.tunnel_view import TunnelView, on_the_wire

_WORDS = {
    "port": "port unreachable",
    "host": "host unreachable",
    "network": "network unreachable",
    "prohibited": "administratively prohibited",
    "protocol": "protocol unreachable",
    "source": "a forbidden source address",
}
_FIRST_TTLS = (64, 128, 255)
"""What systems give a packet: with just that many left, no router was on its way."""
NETWORK = Station("network", "network")
SOCKET_OUTER, INPUT_OUTER = Station("socket-outer", "receiver"), Station("input-outer", "receiver")
ROUTE_OUTER = Station("route-outer")


def observe_refusals(view: TunnelView) -> tuple[Observation, ...]:
    """The station that refuses the tunnel's packets on their way to the peer; empty if none does.

    Errors of this node itself are not judged: its own rules and neighbours are seen by other observers. Nothing is said
    where the burst was answered, for an error may be about packets of before.
    """
    if view.burst.answered:
        return ()
    errors = [packet for packet in view.tapped.packets if _is_refusal(view, packet)]
    if not errors:
        return ()
    (offender, _), _ = Counter((packet.source, packet.error and packet.error.reason) for packet in errors).most_common(
        1
    )[0]
    first = next(packet for packet in errors if packet.source == offender)
    return (_refused(view, first, len([packet for packet in errors if packet.source == offender])),)


def _is_refusal(view: TunnelView, packet: TapPacket) -> bool:
    error = packet.error
    if error is None or packet.outgoing or error.reason not in _WORDS or packet.source in view.own:
        return False
    about = (error.destination, error.destination_port)
    port = view.after.listen_port
    return about in view.endpoints and port in (None, error.source_port)


def _refused(view: TunnelView, packet: TapPacket, count: int) -> Observation:
    offender, reason = packet.source, packet.error.reason if packet.error else "port"
    words = f"{count} ICMP error{'' if count == 1 else 's'}: {_WORDS[reason]}"
    endpoint_host = {address for address, _ in view.endpoints}
    if offender in endpoint_host:
        if _is_own_router(view, packet):
            return _hairpin(view, offender, words)
        return _by_the_host(view, offender, reason, words)
    who = "this node's own gateway" if offender == view.gateway else "a router on the way"
    said = "cannot find" if reason in ("host", "network") else "refuses"
    private = _private(view) if reason in ("host", "network") else ""
    message = f"{who}, {offender}, {said} the tunnel's packets to {view.endpoint}{private} ({words})"
    # A router that cannot find a host next to it had no answer to its question: neither way leads there.
    dead = REACH_UNREACHABLE if reason == "host" else REACH_NO_FORWARD
    code = OVERLAY_NO_HANDSHAKE if view.never else dead
    remedies = let_pass(view.endpoint, offender)
    if reason == "host":
        remedies = is_up(view.endpoint, view.target)
    elif reason == "network":
        remedies = right_endpoint(view.name, view.endpoint, view.target)
    return _killed(NETWORK, code, message, offender, remedies, count)


def _private(view: TunnelView) -> str:
    """In words, that the endpoint is an address that only the network knows that uses it."""
    addresses = [ip_address(address) for address, _ in view.endpoints]
    blocks = [block for block in BLOCKS for each in addresses if each.version == block.version and each in block]
    return f", a private address (of {blocks[0]})," if blocks else ""


def _is_own_router(view: TunnelView, packet: TapPacket) -> bool:
    """Whether the endpoint's answer passed no router, although it is behind one: then it is that router's."""
    beyond = view.gateway is not None and view.gateway != packet.source
    return beyond and packet.ttl in _FIRST_TTLS and ip_address(packet.source).is_global


def _hairpin(view: TunnelView, offender: str, words: str) -> Observation:
    message = (
        f"the endpoint {view.endpoint} is an address of this node's own router ({view.gateway} is its inner one): "
        f"{offender} itself refuses the tunnel's packets ({words}), and sends them to nobody behind it"
    )
    peer = view.peer
    remedies = inner_address(view.name, peer.key, peer.endpoint_port) if peer else ()
    return _killed(ROUTE_OUTER, OVERLAY_ENDPOINT_HAIRPIN, message, offender, remedies, 1, later=True)


def _by_the_host(view: TunnelView, offender: str, reason: str, words: str) -> Observation:
    """The endpoint's host: what comes from that very port shows that it is open, so a filter refuses."""
    heard = bool(view.received or on_the_wire(view).into or view.arrived)
    if reason in ("host", "network"):
        return _hands_on(view, offender, words)
    filtered = heard or reason == "prohibited"
    used = "a filter refuses them, or a rule leads them to a closed port, for the port itself is in use"
    how = used if heard else "closed, or refused by a filter"
    if reason == "prohibited":
        how = "a filter refuses them"
    message = f"the endpoint's host, {offender}, refuses the tunnel's packets to {view.endpoint} ({words}): {how}"
    code = OVERLAY_NO_HANDSHAKE if view.never else REACH_NO_FORWARD if heard else REACH_UNREACHABLE
    remedies = let_in(view.endpoint, view.target) if filtered else _is_there(view, offender)
    return _killed(INPUT_OUTER if filtered else SOCKET_OUTER, code, message, offender, remedies, 1)


def _is_there(view: TunnelView, offender: str) -> Remedies:
    """Whether the tunnel's other end runs, and at which port: OpenVPN's is its server, which need not be the peer."""
    if view.product == "openvpn":
        return daemon_runs("openvpn*", f"the server at {offender}", "")
    if view.product == "nebula":
        return daemon_runs("nebula*", view.target, view.target)
    return look_at_port(view.name, view.peer, view.target) if view.peer is not None else ()


def _hands_on(view: TunnelView, offender: str, words: str) -> Observation:
    """The endpoint's host could not call itself unreachable: it looks for another one, as a port forward makes it."""
    message = (
        f"the endpoint's host, {offender}, hands the tunnel's packets to {view.endpoint} on to a host that it cannot "
        f"find ({words})"
    )
    code = OVERLAY_NO_HANDSHAKE if view.never else REACH_UNREACHABLE
    return _killed(NETWORK, code, message, offender, forwards_to(view.endpoint, offender), 1)


def _killed(
    station: Station,
    code: Code,
    message: str,
    offender: str,
    remedies: Remedies,
    count: int,
    *,
    later: bool = False,
) -> Observation:
    """later: the station decides, and who is called there refuses: the packets were seen to leave."""
    facts = DeathFacts(offender=offender)
    return Observation(
        station=station,
        finding="killed",
        packets="handshake" if code in (OVERLAY_NO_HANDSHAKE, OVERLAY_ENDPOINT_HAIRPIN) else "data",
        sent=count,
        death=Death(code=code, message=message, facts=facts, remedies=remedies, later=later),
    )
