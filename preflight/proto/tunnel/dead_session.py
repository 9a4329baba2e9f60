"""What to say, and to do, about a WireGuard session that does not come to life."""

from ipaddress import ip_address

from preflight import codes
from preflight.codes import Code
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.model.remedy import Remedies, look
from preflight.proto.tunnel.advice import around, compare, give_endpoint, look_at_port, own_key
from preflight.proto.tunnel.wireguard import INITIATION_BYTES, Finding, Watch


def explain(
    finding: Finding, peer: Peer, state: OverlayState, known: OverlayPeer, seen: Watch
) -> tuple[Code, str, Remedies]:
    """Code, message and remedies of a dead session."""
    name, endpoint, host = state.interface, known.endpoint, known.endpoint_address
    ever = "no handshake ever" if seen.age_s is None else f"the last handshake was {seen.age_s:.0f} s ago"
    match finding:
        case Finding.LOOP:
            fact = f"the kernel sends {name}'s packets for the endpoint {host} into {name} itself ({seen.route})"
            return codes.OVERLAY_ENDPOINT_LOOP, f"{fact}; {ever}", around(name, host)
        case Finding.NO_ENDPOINT:
            message = f"{name} has no endpoint for {peer.address}, and the peer has not connected; {ever}"
            return codes.OVERLAY_NO_HANDSHAKE, message, give_endpoint(name, known)
        case Finding.REFUSED_HERE:
            message = f"this node's own firewall rejects packets to {peer.address} through {name}: {seen.objection}"
            return (
                codes.HOST_FIREWALL_DROP,
                message,
                look(f"nft list ruleset   # a drop on output to {name}?", root=True),
            )
        case Finding.PORT_CLOSED:
            message = (
                f"UDP port {known.endpoint_port} of {host} answers port-unreachable: closed, or rejected by a "
                f"firewall; {ever}"
            )
            remedies = look_at_port(name, known, peer.target)
        case Finding.NOTHING_SENT if state.public_key is None and state.unreadable is None:
            message = f"{name} has no private key, so it sends no handshake to the endpoint {endpoint}; {ever}"
            remedies = own_key(name)
        case Finding.NOTHING_SENT:
            route_error = seen.route.error if seen.route else None
            reason = route_error or seen.objection or "the counters of the tunnel do not change"
            message = f"{name} could not send to the endpoint {endpoint}: {reason}; {ever}"
            remedies = look(f"ip route get {host}")
        case _:
            message, remedies = _silent(state, known, seen, ever)
    code = codes.OVERLAY_NO_HANDSHAKE if seen.age_s is None else codes.OVERLAY_HANDSHAKE_STALE
    return code, message, remedies


def _silent(state: OverlayState, known: OverlayPeer, seen: Watch, ever: str) -> tuple[str, Remedies]:
    """What was sent to the endpoint brought nothing back."""
    endpoint, host = known.endpoint, known.endpoint_address
    # At the tunnel's own port there is no other program: its packets come back to it.
    if host is None or not _is_loopback(host) or known.endpoint_port == state.listen_port:
        message = f"the endpoint {endpoint} does not answer: {_unanswered(seen)}; {ever}{_host(seen)}"
        return message, (*_look_at_way(host, seen), *compare(state, known))
    message = (
        f"the endpoint {endpoint} leads to a program on this node that carries the tunnel's packets on, and nothing "
        f"comes back through it: {_unanswered(seen)}; {ever}"
    )
    where = "where does it send them, and does its other end run?"
    return message, look(f"ss -ulpn 'sport = :{known.endpoint_port}'   # that program: {where}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _look_at_way(host: str | None, seen: Watch) -> Remedies:
    """A host that is silent itself may be off, or the way to it dead: then no key is wrong."""
    if seen.host_answers is not False:
        return ()
    return look(f"ip route get {host}; traceroute -n {host}   # how far it gets; behind this node's own gateway?")


def _unanswered(seen: Watch) -> str:
    initiations = seen.sent_bytes // INITIATION_BYTES
    return (
        f"{initiations} handshake initiation{'' if initiations == 1 else 's'} in {seen.watched_s:.1f} s brought "
        f"{f'only {seen.received_bytes} bytes' if seen.received_bytes else 'nothing'} back"
    )


def _host(seen: Watch) -> str:
    words = {
        None: "",
        True: "; its host answers ping",
        False: "; its host does not answer ping either, so it, or the way to it, may be dead",
    }
    return words[seen.host_answers]
