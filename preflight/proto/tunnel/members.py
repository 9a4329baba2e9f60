"""Who is on an overlay: which targets of a run, and a peer whose address the product lists for none of its members."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from preflight.model.fix import PeerAddress
from preflight.model.kernel import Link
from preflight.model.overlay import WHOLE_BITS, OverlayPeer, OverlayState
from preflight.model.peer import CONTROL, Peer
from preflight.model.remedy import Remedies, heal, look
from preflight.proto.tunnel.levers import approval


def targets_on(
    overlay: OverlayState, tunnel: OverlayState, peers: Sequence[Peer], control: str | None
) -> tuple[str, ...] | None:
    """The targets that one of a node's overlays has; None where no peer is on another one.

    overlay: the first of them, with its further ones. control: the control plane's address; it counts to each, unless
    another one has it. A peer of an overlay whose own packets go through this one counts to both.
    """
    own = [peer.target for peer in peers if _goes_through(overlay, tunnel, peer.address)]
    if len(own) == len(peers):
        return None
    found = overlay.tunnel_for(control) if control is not None else tunnel
    elsewhere = control is not None and found is not tunnel and found.claims(control) >= 0
    return tuple(own) if elsewhere else (*own, CONTROL)


def _goes_through(overlay: OverlayState, tunnel: OverlayState, address: str) -> bool:
    having = overlay.tunnel_for(address)
    if having is tunnel:
        return True
    remote = having.remote_for(address)
    endpoint = remote.endpoint_address if remote is not None else None
    return endpoint is not None and overlay.tunnel_for(endpoint) is tunnel and tunnel.claims(endpoint) >= 0


NOT_ADMITTED = "overlay.not-authorized"
KINDS = ("tun", "vxlan", "gre", "ipip", "sit")
"""Kinds of devices that a tunnel has which no product that is known here made."""


def unknown_tunnels(overlay: OverlayState, links: Iterable[Link]) -> list[str]:
    """Further tunnels of this node that are up with an address, in words.

    A VXLAN without a network is a part of a cluster's: its containers are elsewhere.
    """
    known = {tunnel.interface for tunnel in overlay.tunnels}
    up = (link for link in links if link.up and link.kind in KINDS and link.name not in known)
    return [f"{link.kind} on {link.name}" for link in up if _addressed(link)]


def _addressed(link: Link) -> bool:
    own = [each for each in link.addresses if not each.is_link_local]
    return any(link.kind != "vxlan" or each.network.num_addresses > 1 for each in own)


def stranger(state: OverlayState, name: str, address: str, file: str | None = None) -> tuple[str, Remedies] | None:
    """What is wrong with a peer's address, and what to do; None where a member has it, or not all members are listed.

    The product sends nothing there then, whatever the kernel does. Tailscale lists every machine that its access rules
    let this node see. The daemon's list is all that it sends by, also where it is old. file: the settings that name the
    peer by this address.
    """
    if state.product != "tailscale" or state.condition is not None or state.unreadable is not None:
        return None
    wanted = ip_address(address)
    if _has(state, address) or not any(wanted in network for network in state.prefixes):
        return None
    named = [peer for peer in state.peers if peer.name == name and _single(peer, wanted.version) is not None]
    if len(named) == 1:
        now = _single(named[0], wanted.version)
        said = f"tailscale lists {name} with the address {now}, and no member with {address}"
        if file is not None:
            return said, heal(lambda: PeerAddress(file=file, before=address, address=now or ""))
        return said, look(f"Name {name} by the address {now}: it was added to the tailnet again, or renumbered.")
    said = (
        f"tailscale lists no member with the address {address}: {name} is not in this tailnet, or not any more, or the "
        "tailnet's access rules hide it from this node"
    )
    line = f"Is {address} a machine of this tailnet, and do its access rules (acls or grants) let this node reach it?"
    return said, look(line, where="product console")


def uncarried(state: OverlayState, address: str) -> tuple[str, Remedies] | None:
    """The same of an address that may be behind a member: none carries it. None where one does, or not all are known.

    What a member announces is nobody's until it is approved, and then nothing here shows that it is announced.
    """
    if state.product != "tailscale" or state.condition is not None or state.unreadable is not None:
        return None
    if _has(state, address):
        return None
    said = (
        f"no member of the tailnet carries {address}: nobody announces a network that has it, or it waits for "
        "approval, or the access rules hide it from this node"
    )
    return said, approval(state, "the member in front of it")


def shut_out(overlay: OverlayState, address: str) -> OverlayState | None:
    """The overlay that has not admitted this node and has an address; also the only one of that kind where nobody here
    knows who has the address. None where the address is in another one.
    """
    having, denied = overlay.tunnel_for(address), [each for each in overlay.tunnels if each.condition == NOT_ADMITTED]
    if having.claims(address) >= 0:
        return having if having in denied else None
    return denied[0] if len(denied) == 1 and len(overlay.tunnels) > 1 else None


def said_of(state: OverlayState) -> str:
    """An overlay with what its product says of it, in words."""
    name = state.interface or state.network or "no device"
    return f"{name} of {state.product}, which says: {'; '.join(state.health) or state.condition}"


def _has(state: OverlayState, address: str) -> bool:
    """Whether a member has an address, or this node itself; what only leads to the Internet does not."""
    wanted = ip_address(address)
    networks = (each for peer in state.peers for each in peer.addresses if each.prefixlen > WHOLE_BITS)
    return any(wanted in network for network in networks) or any(wanted == own.ip for own in state.addresses)


def _single(peer: OverlayPeer, version: int) -> str | None:
    """Its own address of one family."""
    own = (each for each in peer.addresses if each.version == version and each.prefixlen == each.max_prefixlen)
    return next((str(each.network_address) for each in own), None)
