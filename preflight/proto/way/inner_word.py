"""What the socket of a burst says of both ways: what was answered, and which errors came; pure."""

import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address
from typing import Literal

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.path import StampStats
from preflight.model.remedy import Remedies, look
from preflight.model.tapped import EchoAnswer
from preflight.proto.way.observation import Death, Observation, PacketClass, Passing
from preflight.proto.way.stations import PACKET, Station
from preflight.proto.way.words import counted

_SOCKET, _INPUT = Station("socket", "receiver"), Station("input", "receiver")
_POST_OUT = Station("post-out")
_CARRYING = PACKET[PACKET.index(Station("session")) : PACKET.index(Station("session", "receiver")) + 1]
_FORWARD = Station("forward", "forwarder")
_ERROR = re.compile(r"type (\d+) code (\d+) from (\S+)")
_REFUSED = {
    "IPv4": {0: "network unreachable", 1: "host unreachable", 9: "prohibited", 10: "prohibited", 13: "prohibited"},
    "IPv6": {0: "no route", 1: "prohibited", 3: "address unreachable", 5: "prohibited", 6: "prohibited"},
}
_REFUSED_BY_ANOTHER = {"IPv4": {3: "port unreachable"}, "IPv6": {4: "port unreachable"}}
"""What the peer says of its own port is another matter; said by a machine on the way, it is the word of a filter."""
_NO_NEIGHBOUR = ((3, 1), (1, 3))
"""Type and code of "host unreachable" and "address unreachable"."""
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
    pings: Passing | None = None,
    own: Collection[str] = (),
) -> tuple[Observation, ...]:
    """Observations of a burst inside the tunnel. peer: its name; address: its overlay address.

    pings: what the peer answers, so a refusal is about this port alone: a filter before a responder is not a death.

    echo: what came back for an echo to a peer that says that nobody listens; None: nothing, or nobody asked. own: this
    node's addresses: its own kernel says "host unreachable" for a neighbour that does not answer, and refuses nothing.
    """
    errors = [error for error in stats.icmp_errors if not _is_of_a_neighbour(error, own)]
    return tuple(_words(stats, peer, address, packets, echo, () if pings else errors, pings))


def _words(
    stats: StampStats,
    peer: str,
    address: str,
    packets: PacketClass,
    echo: EchoAnswer | None,
    errors: Iterable[str],
    pings: Passing | None,
) -> Iterator[Observation]:
    if stats.answered:
        yield from _answered(stats, peer, packets)
        return
    if not stats.sent and (kept := stats.send_errors.get("EPERM")):
        # A rule in either hook on the way out does that, and nothing behind them.
        reason = f"this node's own firewall refuses to send {counted(kept, 'packet')} (EPERM)"
        yield Observation(station=_POST_OUT, finding="absent", reason=reason, packets=packets, sent=kept)
    if pings:
        yield from _carried(peer, pings)
    if stats.port_unreachable and (refused := _refused_echo(echo, peer, address)) is not None:
        yield Observation(station=_INPUT, finding="killed", packets=packets, sent=stats.sent, death=refused)
    elif stats.port_unreachable:
        reason = f"{peer} says that nobody listens on the port"
        yield Observation(
            station=_INPUT, finding="seen", reason=reason, packets=packets, sent=stats.sent, seen=stats.sent
        )
    for error in errors:
        refusal = _refusal(error, peer, address)
        if refusal is not None:
            station, death = refusal
            yield Observation(station=station, finding="killed", packets=packets, sent=stats.sent, death=death)


def _carried(peer: str, passes: Passing) -> Iterator[Observation]:
    """Something passes the tunnel both ways, so what carries packets is alive: only stations inside it can kill.

    They are not the packets that die, so nothing is shown of the stations inside, also of those before the tunnel.
    """
    reason = f"{peer} answers {'echoes' if passes == 'ICMP echo' else passes} through the tunnel"
    directions: tuple[Literal["forward", "reverse"], ...] = ("forward", "reverse")
    for direction in directions:
        for station in _CARRYING:
            yield Observation(station=station, finding="clear", direction=direction, reason=reason, packets="data")


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


def _is_of_a_neighbour(error: str, own: Collection[str]) -> bool:
    """Whether this node's own kernel gave up a neighbour, after three questions to which nobody answered."""
    found = _ERROR.fullmatch(error)
    return found is not None and found[3] in own and (int(found[1]), int(found[2])) in _NO_NEIGHBOUR


def _refusal(error: str, peer: str, address: str) -> tuple[Station, Death] | None:
    """An ICMP error from inside the tunnel: from the peer's own host, or from one that should pass packets on."""
    found = _ERROR.fullmatch(error)
    if found is None:
        return None
    kind, code, offender = int(found[1]), int(found[2]), found[3]
    family = "IPv6" if ":" in offender else "IPv4"
    at_peer = ip_address(offender) == ip_address(address)
    known = _REFUSED[family] if at_peer else _REFUSED[family] | _REFUSED_BY_ANOTHER[family]
    words = known.get(code) if kind == _UNREACHABLE[family] else None
    if words is None:
        return None
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
