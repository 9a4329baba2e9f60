"""One burst from a to b of a lab, with everything that the wire's observers need of it."""

import asyncio
import socket
import time
from base64 import b64decode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from preflight.lab.labs import Lab
from preflight.lab.network import inside
from preflight.lab.stations.outside import tunnel_to_remote_end
from preflight.model.flow import Flow
from preflight.model.kernel import Link, Route
from preflight.model.overlay import OverlayState
from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.tapped import Tapped
from preflight.net.kernel import Kernel
from preflight.net.way.echo import ask_echo
from preflight.net.way.tap import Tap, Wanted
from preflight.net.way.udp_ports import udp_ports
from preflight.overlay import wireguard
from preflight.overlay.links import read_links
from preflight.overlay.read import read_overlay
from preflight.proto.tunnel.sessions_seen import SETTLED_NS
from preflight.proto.way.observation import Observation
from preflight.proto.way.owners import may_lack
from preflight.proto.way.told import peer_tunnel
from preflight.proto.way.tunnel import observe_tunnel
from preflight.proto.way.tunnel_view import Burst, TunnelView, carrier_of, tunnel_ports
from preflight.settings.schema import OverlaySettings

PORT = 8621
"""Where nobody answers."""
WAIT_S = 11.5
"""Long enough for two questions of WireGuard."""
PATIENT_S = 22.5
"""Four questions: on a busy machine an answer comes after the tunnel was read, and counts only with the next one."""
ONE_QUESTION_S = 6.5
BURSTS_S = 2.0
"""Long enough for a tunnel that asks nothing: three bursts."""
_PAUSE_S = 0.03
_PAYLOAD = bytes(77)
_COUNT = 10


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen, and what was made of it."""

    view: TunnelView
    found: Sequence[Observation]


def look(lab: Lab, *, until_killed: bool = True, wait_s: float = WAIT_S) -> Looked:
    """Send a burst that nobody answers from a to b, and look until something died or the time is over."""
    assert lab.network is not None
    plan = lab.network.plan
    family = plan.families[0]
    device = tunnel_to_remote_end(lab.network, "a")
    others = (plan.address("c", family),)
    with inside(lab.names.namespace("a")):
        return asyncio.run(_looked(device, plan.address("b", family), others, until_killed, wait_s))


def ask(lab: Lab, looked: Looked) -> PeerTunnel:
    """What b's tunnel says about a."""
    assert lab.network is not None
    device, own = tunnel_to_remote_end(lab.network, "b"), str(looked.view.after.addresses[0].ip)
    with inside(lab.names.namespace("b")):
        return peer_tunnel(asyncio.run(_state(device)), looked.view.after.public_key or "", own)


async def _state(device: str) -> OverlayState:
    state = await read_overlay(OverlaySettings(interface=device))
    assert state is not None
    return state


async def _looked(device: str, address: str, others: tuple[str, ...], until_killed: bool, wait_s: float) -> Looked:
    links = await read_links()
    view = await _first(device, address, links, others)
    silent = [each for each in may_lack(view.before, address, others) if await _is_silent(each)]
    view = replace(view, silent=frozenset(silent))
    key = view.before.public_key
    with _sender(address) as sender:
        flow = replace(view.burst.flow, source_port=sender.getsockname()[1])
        wanted = Wanted(
            product=view.product,
            interface=device,
            tunnel_ports=tunnel_ports(view.before, view.carrier, view.ports or ()),
            probe_ports=frozenset({sender.getsockname()[1]}),
            public_key=b64decode(key) if key else None,
        )
        async with Tap(wanted) as tap:
            ends, sent = time.monotonic() + wait_s, 0
            while True:
                for _ in range(_COUNT):
                    with suppress(OSError):
                        sender.sendto(_PAYLOAD, (address, PORT))
                    sent += 1
                    # Only a packet that is due starts WireGuard's question, just before the peer's next call.
                    await asyncio.sleep(_PAUSE_S)
                await asyncio.sleep(SETTLED_NS / 1e9)
                after = await _state(device)
                burst = Burst(flow=flow, sent=sent)
                view = replace(view, after=after, burst=burst, tapped=tap.taken(), read_ns=time.time_ns())
                found = observe_tunnel(view)
                killed = until_killed and any(each.finding == "killed" for each in found)
                if killed or time.monotonic() > ends:
                    return Looked(view, found)


async def _first(device: str, address: str, links: Sequence[Link], others: tuple[str, ...]) -> TunnelView:
    """What is known before the burst."""
    before = await _state(device)
    kind = next((link.kind for link in links if link.name == device), None)
    ports = udp_ports()
    route = await _route(before, address)
    length = len(_PAYLOAD) + (48 if ":" in address else 28)
    flow = Flow(source=_source(address), destination=address, destination_port=PORT, length_bytes=length)
    return TunnelView(
        target="b", address=address, before=before, after=before, burst=Burst(flow=flow, sent=0),
        tapped=Tapped(), read_ns=0, others=others, ports=ports,
        tunnels=tuple(await wireguard.read(links)), carrier=carrier_of(before, kind, ports),
        uplink=route.interface if route else None, gateway=route.gateway if route else None,
        own=frozenset(str(each.ip) for link in links for each in link.addresses),
    )  # fmt: skip


async def _is_silent(address: str) -> bool:
    """Whether nobody answers an echo there."""
    echo = await ask_echo(address)
    return echo is None or not echo.replies


async def _route(state: OverlayState, address: str) -> Route | None:
    peer = state.peer_for(address)
    endpoint = peer.endpoint_address if peer is not None else None
    return await Kernel().route_to(endpoint, mark=state.fwmark) if endpoint else None


def _sender(address: str) -> socket.socket:
    sender = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("", 0))
    return sender


def _source(address: str) -> str:
    """The source that the kernel chooses for the address."""
    with _sender(address) as asked:
        try:
            asked.connect((address, PORT))
        except OSError:
            return ""
        return str(asked.getsockname()[0])
