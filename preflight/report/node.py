"""The report's description of its node."""

import os
import platform
import socket
from collections.abc import Iterable
from pathlib import Path

from preflight.model.kernel import Link
from preflight.model.overlay import OverlayState
from preflight.report.model import NodeInfo, OverlayInfo, TunnelInfo, TunnelPeerInfo

# Bit numbers of include/uapi/linux/capability.h: those that checks can use.
_CAPABILITIES = {"net_bind_service": 10, "net_admin": 12, "net_raw": 13, "sys_admin": 21}


def privileges() -> tuple[str, ...]:
    """The effective capabilities of this process that matter to checks; none without /proc."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return ()
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    mask = int(line.split()[1], 16)
    return tuple(name for name, bit in _CAPABILITIES.items() if mask >> bit & 1)


def node_info() -> NodeInfo:
    """Host name, system and privileges."""
    uname = os.uname()
    return NodeInfo(
        hostname=socket.gethostname(),
        os=_os_name() or uname.sysname,
        kernel=uname.release,
        python=platform.python_version(),
        privileges=privileges(),
    )


def _os_name() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def overlay_info(state: OverlayState | None) -> OverlayInfo | None:
    """The overlay for the head of the report."""
    if state is None:
        return None
    return OverlayInfo(
        product=state.product,
        interface=state.interface,
        mtu=state.mtu,
        addresses=tuple(str(address) for address in state.addresses),
    )


def with_tunnels(info: OverlayInfo, state: OverlayState, links: Iterable[Link]) -> OverlayInfo:
    """The same with what other nodes can compare: the tunnels with their peers, and this node's other addresses."""
    own = {tunnel.interface for tunnel in state.tunnels}
    outside = (
        str(address.ip) for link in links if not link.loopback and link.name not in own for address in link.addresses
    )
    return info.model_copy(update={"tunnels": tuple(map(_tunnel, state.own_tunnels)), "outside": tuple(outside)})


def _tunnel(state: OverlayState) -> TunnelInfo:
    return TunnelInfo(
        interface=state.interface,
        public_key=state.public_key,
        mtu=state.mtu,
        listen_port=state.listen_port,
        addresses=tuple(map(str, state.addresses)),
        peers=tuple(
            TunnelPeerInfo(
                public_key=peer.key,
                endpoint=peer.endpoint,
                allowed_ips=tuple(map(str, peer.addresses)),
                keepalive_s=peer.keepalive_s,
                handshaken=None if peer.last_handshake_unix_s is None else peer.last_handshake_unix_s > 0,
            )
            for peer in state.peers
        ),
    )
