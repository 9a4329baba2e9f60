"""A tunnel that still sends to where a peer was: its configuration file leads elsewhere now. Pure.

WireGuard looks a name up once, when the tunnel is set up. A peer whose address changes is found again only if it sends
something itself, and what it sends to a node behind NAT does not come in.
"""

import re
from ipaddress import ip_address
from typing import Final

from preflight.codes import OVERLAY_HANDSHAKE_STALE, OVERLAY_NO_HANDSHAKE, REACH_NO_FORWARD
from preflight.model.facts import DeathFacts
from preflight.model.fix import WireguardPeer
from preflight.model.host_port import join_host_port, split_host_port
from preflight.model.overlay import ConfiguredEnd, OverlayState
from preflight.model.remedy import Remedies, heal
from preflight.model.tapped import TapPacket
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station
from preflight.proto.way.tunnel_view import TunnelView, on_the_wire

SILENT_NS: Final = 2_000_000_000
"""How long a peer must have been silent: over satellites an answer takes less."""
_NOBODY_THERE = ("host", "network")
_AGAIN = "reresolve-dns.sh of wireguard-tools, run by a timer"
_HOST = re.compile(r"[\w.:%-]+", re.ASCII)


def configured_end(tunnel: OverlayState, address: str) -> ConfiguredEnd | None:
    """What the tunnel's file says of the peer with an address; None if it says nothing that can be used."""
    owner, file = tunnel.peer_for(address), tunnel.configured
    if owner is None or file is None or not owner.endpoint:
        return None
    written = next((each.endpoint for each in file.peers if each.key == owner.key), None)
    try:
        host, port = split_host_port(written or "")
    except ValueError:
        return None
    return ConfiguredEnd(file.path, host, port) if _HOST.fullmatch(host) else None


def observe_configured_end(view: TunnelView) -> tuple[Observation, ...]:
    """That a silent peer is looked for where the tunnel's file does not say that it is; empty if it is where it says.

    An answer from there, or anything that the tunnel accepted in this run, shows that the peer has only moved.
    """
    end, peer = view.configured, view.peer
    if end is None or peer is None or peer.endpoint_address is None or not end.addresses or view.burst.answered:
        return ()
    waited = bool(view.first_sent_ns) and view.read_ns - view.first_sent_ns >= SILENT_NS
    silent = waited or any(_nobody_is_there(each, peer.endpoint_address) for each in view.tapped.packets)
    heard = view.arrived or view.received_in_run != 0 or bool(on_the_wire(view).into)
    if not silent or heard or view.tapped.blind is not None or _is_there(peer.endpoint_address, end):
        return ()
    if any(_refuses(each, peer.endpoint_address) for each in view.tapped.packets):
        return ()
    code = REACH_NO_FORWARD if view.alive else OVERLAY_NO_HANDSHAKE if view.never else OVERLAY_HANDSHAKE_STALE
    message = (
        f"{view.name} sends what is for {view.target} to {view.endpoint}, from where nothing comes, and {end.file} "
        f"says {join_host_port(end.host, end.port)}{_now(end)}"
    )
    death = Death(
        code=code,
        message=message,
        facts=DeathFacts(endpoint=view.endpoint, file=end.file, public_key=peer.key),
        remedies=_as_the_file_says(view.name, peer.key, end),
        later=True,  # the packets leave, for where the peer is not
    )
    return (Observation(station=Station("session", "sender"), finding="killed", packets="inner", death=death),)


def is_moved(facts: DeathFacts | None) -> bool:
    """Whether these are the facts of a peer that is looked for where the tunnel's file does not say that it is."""
    return facts is not None and None not in (facts.endpoint, facts.file, facts.public_key)


def _refuses(packet: TapPacket, endpoint: str) -> bool:
    """Whether a router on the way will not pass packets on, which is the nearer reason; not that nobody is there."""
    return packet.error is not None and packet.source != endpoint and packet.error.reason not in _NOBODY_THERE


def _nobody_is_there(packet: TapPacket, endpoint: str) -> bool:
    """Whether a router says so: then nobody has to wait for silence."""
    return packet.error is not None and packet.error.reason in _NOBODY_THERE and packet.error.destination == endpoint


def _is_there(address: str, end: ConfiguredEnd) -> bool:
    return ip_address(address) in map(ip_address, end.addresses)


def _now(end: ConfiguredEnd) -> str:
    """What a name leads to now; empty for an address."""
    if end.is_address:
        return ""
    return f", which is {' and '.join(end.addresses)} now: WireGuard looks a name up only when the tunnel is set up"


def _as_the_file_says(name: str, key: str, end: ConfiguredEnd) -> Remedies:
    """The first address, as WireGuard's own tool would take it from the name."""
    place = join_host_port(end.addresses[0], end.port)
    return heal(
        lambda: WireguardPeer(interface=name, key=key, endpoint=place), lasting=None if end.is_address else _AGAIN
    )
