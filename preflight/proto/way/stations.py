"""The stations of each kind of way, in their order, as data."""

from dataclasses import dataclass
from typing import Literal

from preflight.codes import REVALIDATED

Host = Literal["sender", "network", "forwarder", "receiver"]
"""Where a station is on the way. The way of the answers is the same table: there the peer is the sender."""
WayKind = Literal["packet", "request", "token"]


@dataclass(frozen=True, slots=True)
class Station:
    """One place that a packet or a request has to pass; kind: of the way that it is on."""

    __pydantic_config__ = REVALIDATED

    id: str
    host: Host = "sender"
    kind: WayKind = "packet"


def request(id: str) -> Station:
    """A station of the way of a request."""
    return Station(id, kind="request")


_LEAVING = ("post-out", "egress", "tunnel", "session")
_OUTER = ("route-outer", "filter-outer", "post-outer", "neighbour", "egress-outer", "wire")
_SENDER = ("address", "route", "filter-out", *_LEAVING, *_OUTER)
_ARRIVING = ("wire", "prerouting-outer", "rp-outer", "input-outer", "socket-outer", "session", "tunnel")
_RECEIVER = (*_ARRIVING, "prerouting", "rp", "input", "socket")
# A packet passes a forwarder's device, session and uplink twice. An observer there counts both: they are listed once.
_AGAIN = tuple(id for id in (*_LEAVING, *_OUTER) if id not in _ARRIVING)
_FORWARDER = (*_ARRIVING, "prerouting", "rp", "forward", *_AGAIN)

PACKET: tuple[Station, ...] = (
    *(Station(id, "sender") for id in _SENDER),
    Station("network", "network"),
    *(Station(id, "receiver") for id in _RECEIVER),
)
"""The way of a packet through a tunnel, in the order of Linux."""

FORWARDED: tuple[Station, ...] = (
    *(Station(id, "sender") for id in _SENDER),
    Station("network", "network"),
    *(Station(id, "forwarder") for id in _FORWARDER),
    *(Station(id, "receiver") for id in _RECEIVER),
)
"""The same where a hub, or a member before its LAN, forwards it; the second network is not distinguished."""

INNER = frozenset(map(Station, _SENDER[: _SENDER.index("session")]))
"""The sender's stations that only what goes into the tunnel passes: its own packets begin behind them."""

OUTER = frozenset((*_OUTER, *_ARRIVING[1 : _ARRIVING.index("session")]))
"""The ids of this node's stations that the packets of all its tunnels pass, either way."""

SOCKET = Station("socket", "receiver")
"""The program that packets are for, at the end of their way."""

REQUEST: tuple[Station, ...] = tuple(
    map(
        request,
        (
            *("source", "parse", "name", "route", "connect", "proxy", "tls", "server"),
            *("bearer", "scope", "body", "answer"),
        ),
    )
)
"""The way of a request to the control plane."""

TOKEN: tuple[Station, ...] = (Station("token", kind="token"),)
"""What can be known of a token before it is sent."""
