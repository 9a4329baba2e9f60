"""What to do about a WireGuard tunnel: where it has no session, and where one would not last."""

from preflight.model.fix import RouteAround, WireguardPeer
from preflight.model.host_port import bracketed
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.remedy import Remedies, by_hand, heal, look


def around(name: str | None, host: str | None) -> Remedies:
    """A route to the endpoint by the way that leads there outside the tunnel."""
    return heal(
        lambda: RouteAround(interface=name or "", endpoint=host or ""),
        lasting="AllowedIPs that do not hold the endpoint, or wg-quick's policy routing",
    )


def compare(state: OverlayState, known: OverlayPeer) -> Remedies:
    """What must be the same on both ends for a handshake to succeed, with this node's values."""
    return look(
        f"Compare `wg show` on both nodes: the peer's public key must be {known.key}, it must list "
        f"{state.public_key or 'this node'} as a peer with the same preshared key, "
        f"and its UDP port {known.endpoint_port} must be open."
    )


def allow(state: OverlayState, peer: OverlayPeer, host: str) -> Remedies:
    """One address more for a peer. `wg set` replaces the list, so what the peer has is in it."""
    allowed = (*map(str, peer.addresses), host)
    return heal(
        lambda: WireguardPeer(interface=state.interface or "", key=peer.key, allowed_ips=allowed),
        lasting=f"AllowedIPs = {', '.join(allowed)} in its [Peer] section of the file",
    )


def keep_alive(interface: str | None, key: str, seconds: int) -> Remedies:
    """A packet now and then, so that a NAT on the path keeps its mapping."""
    return heal(
        lambda: WireguardPeer(interface=interface or "", key=key, keepalive_s=seconds),
        lasting=f"PersistentKeepalive = {seconds} in its [Peer] section of the file",
    )


def give_endpoint(name: str | None, known: OverlayPeer) -> Remedies:
    """Where the peer listens, which only the peer knows."""
    place = "HOST:PORT   # its underlay address and port: run wg show all listen-port there"
    return by_hand(f"wg set {name} peer {known.key} endpoint {place}", root=True)


def own_key(name: str | None) -> Remedies:
    """The private key that this node's peers know by its public key."""
    lasting = "PrivateKey = … in the [Interface] section of its file"
    return by_hand(f"wg set {name} private-key FILE", lasting=lasting, root=True)


def look_at_port(name: str | None, known: OverlayPeer, peer: str) -> Remedies:
    """Whether the tunnel of the peer with this name runs, and on which port."""
    host = bracketed(known.endpoint_address or "HOST")
    return look(
        "wg show all listen-port   # on the peer; no line: start its tunnel; another port: "
        f"wg set {name} peer {known.key} endpoint {host}:PORT, here",
        where="peer",
        host=peer,
        root=True,
    )


def daemon_runs(unit: str, on: str, host: str) -> Remedies:
    """Whether a daemon runs that has the tunnel's port. on: its host in words; host: the peer's name, if it is one."""
    shown = f"systemctl status '{unit}'; ss -ulpn   # on {on}: does it run, at the port that is called here?"
    return look(shown, where="peer", host=host or None, root=True)
