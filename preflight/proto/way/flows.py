"""The flows of a way: the burst as it goes into the tunnel, and the tunnel's own packets that carry it; pure."""

from collections.abc import Collection
from dataclasses import replace

from preflight.model.flow import Flow
from preflight.model.host_port import split_host_port
from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer
from preflight.model.tapped import TapPacket, Tapped
from preflight.model.udp_port import UdpPort
from preflight.proto.way.openvpn import Remote

PROBE_BYTES = 192
"""The IP packet of a signed STAMP packet with its TLVs, over IPv4: what a burst has before it was sent."""
HANDSHAKE_BYTES = 176
"""WireGuard's initiation over IPv4."""


def inner_flow(peer: Peer, uid: int) -> Flow:
    """What this node sends to a peer's responder; the kernel chooses its source."""
    return Flow(
        source="", destination=peer.address, destination_port=peer.responder_port, uid=uid, length_bytes=PROBE_BYTES
    )


def outer_flow(tunnel: OverlayState, address: str, source: str = "") -> Flow | None:
    """The tunnel's own packets to the endpoint of the peer that owns an address; None if it is not known."""
    owner = tunnel.remote_for(address)
    if owner is None or not owner.endpoint:
        return None
    host, port = split_host_port(owner.endpoint)
    return Flow(
        source=source,
        destination=host.partition("%")[0],
        source_port=tunnel.listen_port,
        destination_port=port,
        mark=tunnel.fwmark,
        length_bytes=HANDSHAKE_BYTES,
    )


def openvpn_flow(remote: Remote, ports: Collection[UdpPort]) -> Flow:
    """What this node's OpenVPN sends to its one remote end. ports: the UDP sockets, with their programs."""
    own = {each.port for each in ports if each.program == "openvpn"}
    return Flow(
        source="",
        destination=remote[0],
        source_port=own.pop() if len(own) == 1 else None,
        destination_port=remote[1],
        length_bytes=HANDSHAKE_BYTES,
    )


def outer_seen(tapped: Tapped, address: str, carrier: str | None) -> Flow | None:
    """The tunnel's own packets as they were seen to leave, where its product does not say where its peers are.

    address: the peer's, inside the tunnel. VXLAN shows it, and sends each flow from another port to one that is known.
    OpenVPN sends everything to one remote end. Of other products nothing says for whom a packet is.
    """
    if carrier not in ("vxlan", "openvpn"):
        return None
    sent = (packet for packet in tapped.packets if packet.outgoing and packet.tunnel is not None)
    found = next((each for each in sent if carrier == "openvpn" or _is_for(each, address)), None)
    if found is None or found.destination_port is None:
        return None
    return Flow(
        source=found.source,
        destination=found.destination,
        source_port=found.source_port if carrier == "openvpn" else None,
        destination_port=found.destination_port,
        length_bytes=HANDSHAKE_BYTES,
    )


def _is_for(packet: TapPacket, address: str) -> bool:
    return packet.tunnel is not None and packet.tunnel.inner_destination == address


def outer_answer(flow: Flow) -> Flow:
    """What comes back to the tunnel itself. Where it sends from any port, both ends send to the same one (VXLAN)."""
    answer = flow.answer()
    return answer if flow.source_port else replace(answer, source_port=None, destination_port=flow.destination_port)
