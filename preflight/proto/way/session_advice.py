"""What heals a WireGuard session that does not carry packets, as far as this node can know it."""

from preflight.model.fix import NoPresharedKey, WireguardKey, WireguardPeer, WireguardPort
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.remedy import Remedies, by_hand, heal, look

_SAME_KEY = "the same PresharedKey in the [Peer] sections of both files, or in neither"


def host_of(address: str) -> str:
    """An address as the narrowest network."""
    return f"{address}/{128 if ':' in address else 32}"


def allow(state: OverlayState, peer: OverlayPeer, address: str, taken_from: str | None = None) -> Remedies:
    """One address more for a peer of this node. `wg set` replaces the list, so what the peer has is in it."""
    allowed = (*map(str, peer.addresses), host_of(address))
    return heal(
        lambda: WireguardPeer(
            interface=state.interface or "", key=peer.key, allowed_ips=allowed, taken_from=taken_from
        ),
        lasting=f"AllowedIPs = {', '.join(allowed)} in its [Peer] section of the file",
    )


def allow_there(told: PeerTunnel, key: str, address: str, target: str, *, owner: str | None = None) -> Remedies:
    """This node's address in the peer's list for this node's key."""
    allowed = (*told.allowed, host_of(address))
    return heal(
        lambda: WireguardPeer(interface=told.interface or "", key=key, allowed_ips=allowed, taken_from=owner),
        where="peer",
        host=target,
        lasting=f"AllowedIPs = {', '.join(allowed)} in the [Peer] section of this node",
    )


def renew_here(state: OverlayState, old: OverlayPeer, key: str, target: str) -> Remedies:
    """The peer's current key in the place of the one that this node has.

    Only for a person to compare and to paste: everyone with the responders' key could report any key.
    """
    line = f"wg show {state.interface} public-key   # on {target}: only if it is {key}, replace {old.key} by it here"
    return by_hand(line, root=True)


def renew_there(told: PeerTunnel, key: str, addresses: tuple[str, ...], target: str) -> Remedies:
    """This node's current key at the peer, in the place of the entry that owns this node's address there."""
    allowed = tuple(map(host_of, addresses))
    return heal(
        lambda: WireguardKey(interface=told.interface or "", key=key, instead_of=told.owner, allowed_ips=allowed),
        where="peer",
        host=target,
        lasting=f"PublicKey = {key} in the [Peer] section of this node",
    )


def drop_preshared_key(
    state: OverlayState, peer: OverlayPeer, address: str, target: str, *, there: bool | None = None
) -> Remedies:
    """No preshared key on the ends that have one. there: whether the peer has one, None if that is not known.

    A preshared key that both have again would do as well, but only a person may carry it from one to the other.
    """
    own = next((str(each.ip) for each in state.addresses if (":" in str(each.ip)) == (":" in address)), "")
    here: Remedies = ()
    if peer.preshared is not False:
        here = heal(lambda: NoPresharedKey(address=own, key=peer.key), lasting=_SAME_KEY)
    if there is False:
        return here
    return (
        *here,
        *heal(
            lambda: NoPresharedKey(address=address, key=state.public_key or ""),
            where="peer",
            host=target,
            lasting=_SAME_KEY,
        ),
    )


def another_port(state: OverlayState, port: int) -> Remedies:
    """A free port for this tunnel; its peers follow at once."""
    return heal(
        lambda: WireguardPort(interface=state.interface or "", port=port),
        lasting=f"ListenPort = {port} in its [Interface] section of the file",
    )


def inner_address(name: str, key: str, port: int | None) -> Remedies:
    """The peer behind the same router by its address there, which this node does not know."""
    place = f"ADDRESS:{port}   # the peer's address in the network behind this router"
    return by_hand(f"wg set {name} peer {key} endpoint {place}", root=True)


def answer_from_endpoint(target: str, endpoint: str) -> Remedies:
    """The peer must answer by the uplink that it was called on."""
    return look(
        f"ip rule; ip route show table all   # what leaves from {endpoint} must leave by the uplink with that address",
        where="peer",
        host=target,
        root=True,
    )


def let_pass(endpoint: str, offender: str) -> Remedies:
    """The owner of a router that refuses the tunnel's packets must let them pass."""
    return look(f"Let UDP packets to {endpoint} pass on {offender}.", where="router")


def forwards_to(endpoint: str, offender: str) -> Remedies:
    """A router that forwards the tunnel's port does so to a host that is off, or has another address by now."""
    port = endpoint.rpartition(":")[2]
    return look(f"Does {offender} forward UDP port {port} to the peer's present address?", where="router")


def right_endpoint(name: str, endpoint: str, target: str) -> Remedies:
    """No router knows the endpoint's network."""
    line = f"wg show {name} endpoints   # is {endpoint} the address by which {target} is reached from outside?"
    return look(line, root=True)


def let_in(endpoint: str, target: str) -> Remedies:
    """The endpoint's host runs, and its own firewall refuses what the tunnel sends there."""
    port = endpoint.rpartition(":")[2]
    line = f"nft -a list ruleset | grep -nE 'reject|drop|dport'   # which rule refuses UDP port {port}? let it in"
    return look(line, where="peer", host=target, root=True)


def is_up(endpoint: str, target: str) -> Remedies:
    """The endpoint's host does not answer the router next to it."""
    return look(f"Is the host of {endpoint} switched on, and is its uplink up?", where="peer", host=target)
