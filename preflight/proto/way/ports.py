"""A tunnel without a UDP port, because another socket has it: pure."""

from preflight.codes import OVERLAY_PORT_CONFLICT
from preflight.model.facts import DeathFacts
from preflight.model.overlay import OverlayState
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.session_advice import another_port
from preflight.proto.way.stations import Station
from preflight.proto.way.tunnel_view import TunnelView, messages, on_the_wire

_WIRE = Station("wire")
_LAST_PORT = 65535


def observe_port(view: TunnelView) -> tuple[Observation, ...]:
    """Whether the tunnel sends nothing because it could not bind its port; empty if it has one, or sends."""
    state = view.after
    if view.product != "wireguard" or not state.up or state.unreadable or view.ports is None or view.burst.answered:
        return ()
    if view.tapped.blind is None and messages(on_the_wire(view).out, "initiation", "response", "data", "keepalive"):
        return ()
    wanted = _wanted(view)
    if wanted is None or view.counted_sent:
        return ()
    holder = _holder(view, wanted)
    if holder is None:
        return ()
    message = f"{view.name} has no UDP port and sends nothing: {holder} has UDP port {wanted}, which {view.name} needs"
    death = Death(
        code=OVERLAY_PORT_CONFLICT,
        message=message,
        facts=DeathFacts(port=wanted, interface=state.interface),
        remedies=another_port(state, _free(view, wanted)),
    )
    return (Observation(station=_WIRE, finding="killed", packets="data", sent=view.burst.sent, death=death),)


def _wanted(view: TunnelView) -> int | None:
    """The port that the tunnel should have. Without one, that of its file, or the one its peers use."""
    state = view.after
    if state.listen_port is not None:
        return None  # it is bound: WireGuard forgets the number of a port that it could not bind
    if state.configured is not None and state.configured.listen_port is not None:
        return state.configured.listen_port
    theirs = {port for peer in state.peers if (port := peer.endpoint_port) is not None}
    taken = {other.listen_port for other in view.tunnels if other.interface != state.interface}
    taken |= {each.port for each in view.ports or ()}
    return min((port for port in theirs if port in taken), default=None)


def _holder(view: TunnelView, port: int) -> str | None:
    """Who has the port, in words; None if nobody has."""
    others: tuple[OverlayState, ...] = tuple(
        each for each in view.tunnels if each.interface != view.after.interface and each.listen_port == port
    )
    if others:
        return f"the tunnel {others[0].interface}"
    sockets = [each for each in view.ports or () if each.port == port]
    if not sockets:
        return None
    return next((each.program for each in sockets if each.program), None) or "another program"


def _free(view: TunnelView, port: int) -> int:
    used = {each.port for each in view.ports or ()}
    return next((each for each in range(port + 1, _LAST_PORT + 1) if each not in used), port)
