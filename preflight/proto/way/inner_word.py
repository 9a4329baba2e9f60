"""What the socket of a burst says of both ways: what was answered, and which errors came; pure."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.path import StampStats
from preflight.model.remedy import Remedies, look
from preflight.model.tapped import EchoAnswer
from preflight.proto.way.observation import Death, Observation, PacketClass
from preflight.proto.way.stations import Station
from preflight.proto.way.words import counted

_SOCKET, _INPUT = Station("socket", "receiver"), Station("input", "receiver")
_SESSION = Station("session", "receiver")
_FORWARD = Station("forward", "forwarder")
_ERROR = re.compile(r"type (\d+) code (\d+) from (\S+)")
_REFUSED = {
    "IPv4": {0: "network unreachable", 1: "host unreachable", 9: "prohibited", 10: "prohibited", 13: "prohibited"},
    "IPv6": {0: "no route", 1: "prohibited", 3: "address unreachable", 5: "prohibited", 6: "prohibited"},
}
_CLOSED = ((3, 3), (1, 4))
"""Type and code of "port unreachable" (RFC 792, RFC 4443 section 3.1)."""
_UNREACHABLE = {"IPv4": 3, "IPv6": 1}


def inner_word(
    stats: StampStats,
    peer: str,
    address: str,
    packets: PacketClass = "inner",
    *,
    echo: EchoAnswer | None = None,
    pings: bool = False,
) -> tuple[Observation, ...]:
    """Observations of a burst inside the tunnel. peer: its name; address: its overlay address.

    pings: the peer answers echoes, so a refusal is about this port alone: a filter before a responder is not a death.

    echo: what came back for an echo to a peer that says that nobody listens; None: nothing, or nobody asked.
    """
    return tuple(_words(stats, peer, address, packets, echo, pings))


def _words(
    stats: StampStats, peer: str, address: str, packets: PacketClass, echo: EchoAnswer | None, pings: bool
) -> Iterator[Observation]:
    if stats.answered:
        yield from _answered(stats, peer, packets)
        return
    if pings:
        yield from _carried(peer)
    if stats.port_unreachable and (refused := _refused_echo(echo, peer, address)) is not None:
        yield Observation(station=_INPUT, finding="killed", packets=packets, sent=stats.sent, death=refused)
    elif stats.port_unreachable:
        reason = f"{peer} says that nobody listens on the port"
        yield Observation(
            station=_INPUT, finding="seen", reason=reason, packets=packets, sent=stats.sent, seen=stats.sent
        )
    for error in () if pings else stats.icmp_errors:
        refusal = _refusal(error, peer, address)
        if refusal is not None:
            station, death = refusal
            yield Observation(station=station, finding="killed", packets=packets, sent=stats.sent, death=death)


def _carried(peer: str) -> Iterator[Observation]:
    """Echoes pass the tunnel both ways, so what carries packets is alive: only stations inside it can kill."""
    reason = f"{peer} answers echoes through the tunnel"
    yield Observation(station=_SESSION, finding="seen", reason=reason, packets="data")
    yield Observation(station=_SESSION, finding="seen", direction="reverse", reason=reason, packets="data")


def _answered(stats: StampStats, peer: str, packets: PacketClass) -> Iterator[Observation]:
    """An answer shows both ways to be open; all of them, that nothing is lost."""
    arrived = stats.forward.received if stats.forward is not None else stats.answered
    yield Observation(
        station=_SOCKET,
        finding="seen",
        reason=f"{peer} answered {stats.answered} of {stats.sent} packets",
        packets=packets,
        sent=stats.sent,
        seen=arrived,
    )
    sent_back = stats.reverse.sent if stats.reverse is not None else stats.answered
    yield Observation(
        station=_SOCKET,
        finding="seen",
        direction="reverse",
        reason=f"{counted(stats.answered, 'answer')} came to the socket",
        packets=packets,
        sent=sent_back,
        seen=stats.answered,
    )


def _refused_echo(echo: EchoAnswer | None, peer: str, address: str) -> Death | None:
    """A host has no port for an echo: that it calls one closed is the word of a firewall."""
    if echo is None or (echo.kind, echo.code) not in _CLOSED or ip_address(echo.source) != ip_address(address):
        return None
    message = (
        f"{peer} itself ({echo.source}) refuses packets to {address}: it answers even an echo with port unreachable "
        f"(ICMP type {echo.kind} code {echo.code}), as only a firewall that rejects does"
    )
    facts = DeathFacts(offender=echo.source)
    return Death(code=codes.REACH_NO_FORWARD, message=message, facts=facts, remedies=_look(peer))


def _refusal(error: str, peer: str, address: str) -> tuple[Station, Death] | None:
    """An ICMP error from inside the tunnel: from the peer's own host, or from one that should pass packets on."""
    found = _ERROR.fullmatch(error)
    if found is None:
        return None
    kind, code, offender = int(found[1]), int(found[2]), found[3]
    family = "IPv6" if ":" in offender else "IPv4"
    words = _REFUSED[family].get(code) if kind == _UNREACHABLE[family] else None
    if words is None:
        return None
    at_peer = ip_address(offender) == ip_address(address)
    who = f"{peer} itself ({offender})" if at_peer else offender
    message = f"{who} refuses packets to {address}: {words} (ICMP type {kind} code {code})"
    death = Death(
        code=codes.REACH_NO_FORWARD,
        message=message,
        facts=DeathFacts(offender=offender),
        remedies=_look(peer if at_peer else offender),
    )
    return (_INPUT if at_peer else _FORWARD), death


def _look(host: str) -> Remedies:
    return look("nft -a list ruleset | grep -nE 'reject|drop'", where="peer", host=host, root=True)
