"""Why traffic to a peer is relayed, and the one thing that would make it direct; pure."""

import re

from preflight.model.overlay import OverlayState
from preflight.model.own_nat import OwnNat
from preflight.model.remedy import Remedies, by_hand, look
from preflight.proto.tunnel.peer_status import PORTS, open_port
from preflight.proto.tunnel.reason_levers import UNBOUND, of_warning

_THERE = {
    "tailscale": "tailscale netcheck   # UDP false: let UDP out there; MappingVariesByDestIP true: forward UDP port "
    "41641 to it",
    "zerotier": "zerotier-cli -j info   # tcpFallbackActive true: let UDP out there; several surfaceAddresses: forward "
    "UDP port 9993 to it",
}


def why_relayed(state: OverlayState, peer: str, nat: OwnNat | None) -> tuple[str, Remedies]:
    """A clause behind the sentence, or none; and what to do. nat: what the product knows of this node's side."""
    product = state.product
    unbound = next((each.said for each in state.complaints if re.search(UNBOUND, each.said)), None)
    if unbound is not None:
        return f"; this node has no UDP port for it ({unbound})", of_warning(state, unbound) or ()
    if nat is None:
        return "", open_port(product)
    if nat.forced is not None:
        return (
            f"; this node sends nothing by UDP: {nat.forced} is set in {nat.file}",
            by_hand(f"Take {nat.forced} out of {nat.file}, and restart the service.", root=True),
        )
    if nat.barred:
        return (
            f"; {nat.file} forbids paths to {' and '.join(nat.barred)} (blacklist)",
            look(f"grep -n blacklist {nat.file}   # is {peer}'s underlay address in one of them?", root=True),
        )
    if nat.udp is False:
        return (
            f"; this node's own UDP does not get out ({nat.by})",
            look("Let this node's UDP out to every port, at its firewall or its router.", where="router"),
        )
    if nat.punches is False:
        line = "punchy: {punch: true, respond: true}"
        return (
            f"; Nebula does not open a way through a NAT here: punchy.punch is off in {nat.file}",
            look(f"{line}   # in {nat.file}, here and on {peer}; then systemctl reload nebula", root=True),
        )
    if nat.hard:
        return _hard(product, nat)
    if nat.udp and (nat.translated is False or nat.hard is False):
        here = "has no NAT" if nat.translated is False else "is behind a NAT that keeps one port for all destinations"
        fact = (
            f"; this node {here}, and its UDP gets out ({nat.by}): a filter, or the UDP or NAT of {peer}, is in the way"
        )
        there = _THERE.get(product)
        return fact, look(there, where="peer", host=peer, root=True) if there else open_port(product)
    return "", open_port(product)


def _hard(product: str, nat: OwnNat) -> tuple[str, Remedies]:
    """Behind such a NAT nobody can guess the next port: only a port that is mapped once for all helps."""
    offers = {False: ", and no router maps a port for it", True: ", although its router can map a port"}
    mapped = offers.get(nat.port_mapping, "") if nat.port_mapping is not None else ""
    port = PORTS.get(product)
    line = f"Forward UDP port {port} to this node at its router, or let the router map ports (UPnP, NAT-PMP or PCP)."
    return (
        f"; this node's NAT gives each destination another port ({nat.by}){mapped}",
        look(line, where="router"),
    )
