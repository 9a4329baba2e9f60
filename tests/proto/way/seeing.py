"""A tunnel as a tap sees it, for tests of what is made of that."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import Any

from preflight.model.flow import Flow
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.tapped import IcmpError, Kind, Refused, TapPacket, Tapped, TunnelPacket
from preflight.proto.way.observation import Observation
from preflight.proto.way.tunnel_view import Burst, TunnelView

OWN_KEY = "b3duIG93biBvd24gb3duIG93biBvd24gb3duIG93biE="
KEY_B = "YmIgYmIgYmIgYmIgYmIgYmIgYmIgYmIgYmIgYmIgYmI="
KEY_C = "Y2MgY2MgY2MgY2MgY2MgY2MgY2MgY2MgY2MgY2MgY2M="
STRANGER = "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW4="
OWN, B, C = "10.66.0.1", "10.66.0.2", "10.66.0.3"
HERE, THERE, THIRD, ROUTER = "192.0.2.1", "198.51.100.2", "198.51.100.3", "192.0.2.254"
PORT, RESPONDER, PROBE = 51820, 862, 40000
BEGAN_NS = 1_700_000_000_000_000_000
READ_NS = BEGAN_NS + 6_000_000_000
LENGTH = 116
FLOW = Flow(source=OWN, destination=B, source_port=PROBE, destination_port=RESPONDER, length_bytes=LENGTH)


def peer(key: str = KEY_B, address: str = B, endpoint: str | None = f"{THERE}:{PORT}", **values: Any) -> OverlayPeer:
    """A peer of the tunnel; a session of a minute ago unless the test says otherwise."""
    known: dict[str, Any] = {
        "last_handshake_unix_s": READ_NS / 1e9 - 60,
        "rx_bytes": 1000,
        "tx_bytes": 1000,
        "preshared": False,
    }
    known["addresses"] = (ip_network(address),) if address else ()
    return OverlayPeer(key=key, endpoint=endpoint, **(known | values))


def state(*peers: OverlayPeer, **values: Any) -> OverlayState:
    """The tunnel of this node."""
    known: dict[str, Any] = {
        "product": "wireguard", "interface": "wg0", "up": True, "mtu": 1420, "public_key": OWN_KEY,
        "addresses": (ip_interface(f"{OWN}/24"),), "listen_port": PORT, "peers": peers or (peer(),),
    }  # fmt: skip
    return OverlayState(**(known | values))


def outer(
    kind: Kind,
    *,
    out: bool,
    remote: tuple[str, int] = (THERE, PORT),
    device: str = "eth0",
    at_s: float = 1.0,
    product: str = "wireguard",
    local_port: int = PORT,
    **tunnel: Any,
) -> TapPacket:
    """One of the tunnel's own packets. at_s: seconds after the begin."""
    here = (HERE, local_port)
    (source, source_port), (destination, destination_port) = (here, remote) if out else (remote, here)
    if kind == "data":
        tunnel = {"inner_bytes": (LENGTH - 4, LENGTH + 11)} | tunnel
    return TapPacket(
        received_ns=BEGAN_NS + round(at_s * 1e9), device=device, outgoing=out, source=source, source_port=source_port,
        destination=destination, destination_port=destination_port, length_bytes=176, ttl=63,
        tunnel=TunnelPacket(product=product, kind=kind, **tunnel),
    )  # fmt: skip


def inner(*, out: bool, source: str = OWN, device: str = "wg0") -> TapPacket:
    """A packet of the burst on the tunnel device, or an answer."""
    ends = ((source, PROBE), (B, RESPONDER))
    (origin, origin_port), (target, target_port) = ends if out else ends[::-1]
    return TapPacket(
        received_ns=BEGAN_NS, device=device, outgoing=out, source=origin, source_port=origin_port, destination=target,
        destination_port=target_port, length_bytes=LENGTH, ttl=64,
    )  # fmt: skip


def refusal(offender: str, reason: Refused = "port", *, ttl: int = 63, **values: Any) -> TapPacket:
    """An ICMP error about the tunnel's packets to b's endpoint."""
    about: dict[str, Any] = {"destination": THERE, "destination_port": PORT, "source": HERE, "source_port": PORT}
    error = IcmpError(reason=reason, **(about | values))
    return TapPacket(
        received_ns=BEGAN_NS, device="eth0", outgoing=False, source=offender, destination=HERE, length_bytes=100,
        ttl=ttl, error=error,
    )  # fmt: skip


BURST = tuple(inner(out=True) for _ in range(10))


def view(
    *packets: TapPacket, before: OverlayState | None = None, after: OverlayState | None = None, **values: Any
) -> TunnelView:
    """A burst of ten packets to b that nobody answered. after: as before unless it is given."""
    first = before or state()
    known: dict[str, Any] = {
        "target": "b", "address": B, "burst": Burst(flow=FLOW, sent=10), "read_ns": READ_NS, "uplink": "eth0",
        "gateway": ROUTER, "own": frozenset((HERE, OWN)), "others": (C,),
        "tapped": Tapped(packets=packets, began_ns=BEGAN_NS),
    }  # fmt: skip
    return TunnelView(before=first, after=after or first, **(known | values))


def grown(one: OverlayState, **values: Any) -> OverlayState:
    """The state with other values of its first peer."""
    return replace(one, peers=(replace(one.peers[0], **values), *one.peers[1:]))


def told(observations: Sequence[Observation]) -> list[tuple[str, str, str, str, str]]:
    """Observations in short: direction, station, host, finding, class."""
    return [(each.direction, each.station.id, each.station.host, each.finding, each.packets) for each in observations]


def death_of(observations: Sequence[Observation]) -> Observation:
    """The only station that killed something."""
    (only,) = [each for each in observations if each.finding == "killed"]
    assert only.death is not None
    return only
