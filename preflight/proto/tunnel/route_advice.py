"""What leads packets for an address into the overlay, where the kernel sends them elsewhere."""

from collections.abc import Collection
from ipaddress import ip_address

from preflight.model import fix
from preflight.model.kernel import MAIN_TABLE, Link
from preflight.model.overlay import OverlayState
from preflight.model.product_fixes import ZeroTierOption
from preflight.model.remedy import Remedies, by_hand, heal, look
from preflight.proto.tunnel.levers import tailscale_takes, zerotier_takes

OWN_ROUTES = ("tailscale", "zerotier")
"""Products that write the routes: a route of ours would be lost, or in their way."""
_NOT_ACCEPTED = "overlay.routes-not-accepted"


def into_the_overlay(
    state: OverlayState, address: str, table: int, lasting: str | None = None, *, gateway: str | None = None
) -> Remedies:
    """A route for this address alone, so that no other host loses its way. state: the tunnel that has it.

    gateway: the member behind which it is, where the tunnel's device asks for one.
    """
    if state.product in OWN_ROUTES:
        return _by_the_product(state, address)
    if state.product == "nebula" and not any(ip_address(address) in own.network for own in state.addresses):
        return _through_a_member(state, address)
    if state.peers and state.lists_owners and state.peer_for(address) is None:
        return look_at_route(address)
    host = f"{address}/{128 if ':' in address else 32}"
    return heal(
        lambda: fix.Route(
            action="replace",
            destination=host,
            gateway=gateway,
            interface=state.interface,
            table=None if table == MAIN_TABLE else table,
        ),
        lasting=lasting,
    )


def _through_a_member(state: OverlayState, address: str) -> Remedies:
    """Nebula drops what its own configuration leads nowhere, whatever route the kernel has."""
    member, network = state.peer_for(address), state.owners.prefix(address)
    file = state.policy.file if state.policy is not None else "its configuration"
    if member is None or network is None:
        behind = (
            f"Is {address} behind a member of it? Then tun.unsafe_routes in {file} wants its network and that member."
        )
        return (*look(behind), *look_at_route(address))
    line = f"unsafe_routes: [{{route: {network}, via: {member.key}}}]"
    return by_hand(f"{line}   # under tun in {file}; then restart nebula", root=True)


def give_up(link: Link, address: str, *, tunnels: Collection[str]) -> Remedies:
    """Take an address that is a peer's off this node, unless its tunnel would have none of the family any more.

    Which of two is wrong then, the address or the list of peers, is for a person to say.
    """
    held = next(each for each in link.addresses if each.ip == ip_address(address))
    others = [each for each in link.addresses if each.version == held.version and each.ip != held.ip]
    if link.name in tunnels and not any(not each.is_link_local for each in others):
        return look(f"ip address show to {address}")
    return heal(
        lambda: fix.AddressDelete(interface=link.name, address=str(held)),
        lasting="take it out of the network's configuration too",
    )


def take_less(state: OverlayState, network: str) -> Remedies:
    """How an overlay lets go of a network that another one needs: the lever may take more away, so it is not a fix."""
    if state.product == "tailscale":
        return (
            *look("tailscale set --accept-routes=false   # if this node needs no subnet of the tailnet", root=True),
            *look(f"Else let the tailnet announce less than {network}.", where="product console"),
        )
    if state.product == "zerotier":
        line = f"Take the route {network} out of the network {state.network or 'NETWORK'} on its controller."
        return look(line, where="product console")
    return look(f"ip route show table all dev {state.interface}   # what brought {network}? One of the two must change")


def by_mark(mark: int) -> str:
    """What makes the kernel route packets again, to say behind where they go; nothing without a mark."""
    return f", by the mark {mark:#x} that a rule of this node's firewall gives them" if mark else ""


def look_at_marks() -> Remedies:
    """What shows both rules, that of the firewall and that of routing: which is wrong is for a person to say."""
    show = "ip rule; nft list ruleset | grep mark   # which rule gives the mark, and which one leads it away?"
    return look(show, root=True)


def look_at_route(address: str) -> Remedies:
    """Which rule and which table decide."""
    return look(f"ip rule; ip route get {address}")


def _by_the_product(state: OverlayState, address: str) -> Remedies:
    """A subnet behind a peer needs this node's consent; the daemon says so itself."""
    prefix = state.owners.prefix(address)
    told = any(each.code == _NOT_ACCEPTED for each in state.complaints)
    if state.product == "tailscale" and told and prefix is not None and prefix.num_addresses > 1:
        return tailscale_takes(state, "accept-routes")
    if (option := not_taken(state, address)) is not None:
        return zerotier_takes(state.network or "", option)
    return look_at_route(address)


def not_taken(state: OverlayState, address: str) -> ZeroTierOption | None:
    """The setting by which this node leaves out the most specific route that its controller gives for an address."""
    wanted = ip_address(address)
    having = [each for each in state.untaken if each[0].version == wanted.version and wanted in each[0]]
    return max(having, key=lambda each: each[0].prefixlen)[1] if having else None
