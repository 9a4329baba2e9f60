"""A peer behind another one: does the one that has to hand packets on do so? Pure.

A forwarder answers a probe whose time to live ends there before its rules for forwarding see it, and one that does not
forward at all answers none. So a trace inside the tunnel shows the forwarder, and never what is wrong behind it.
"""

from collections.abc import Iterable
from ipaddress import ip_address

from preflight.codes import REACH_UNREACHABLE
from preflight.model.facts import DeathFacts
from preflight.model.icmp import Trace
from preflight.model.overlay import OverlayState
from preflight.model.remedy import Remedies, look
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station

_FORWARD = Station("forward", "forwarder")
MOST_HOPS = 4


def may_be_behind(tunnel: OverlayState, address: str) -> bool:
    """Whether another machine may have to hand on what is for an address: no peer has it for itself alone."""
    wanted, owner = ip_address(address), tunnel.peer_for(address)
    if owner is None:
        # Where owners cannot be read, only an address outside the tunnel's own networks is known to be behind one.
        return not tunnel.lists_owners and not _near(tunnel, address)
    return all(each.prefixlen != wanted.max_prefixlen for each in owner.addresses if wanted in each)


def observe_behind(
    tunnel: OverlayState, address: str, target: str, trace: Trace | None, *, alive: bool, heard: Iterable[str] = ()
) -> Observation | None:
    """What fits where a peer behind another one is silent. trace: to its address; None: there is none.

    alive: the session with the peer that owns the address works. heard: addresses of others that have answered.
    """
    if trace is None or trace.reached:
        return None
    hop = next((each for each in reversed(trace.hops) if _inside(each.address, each.interface, tunnel, address)), None)
    if hop is not None and hop.address is not None:
        said = (
            f"{hop.address} gets packets for {target} and has a route for them, and nothing comes back from behind it: "
            f"its rules for forwarding drop them, {target} is off or drops them, or {target} has no way back to it"
        )
        return _likely(said, hop.address, _on_forwarder(hop.address, address, tunnel))
    owner = tunnel.peer_for(address)
    if owner is None or not alive:
        return None
    beside = next((each for each in heard if (other := tunnel.peer_for(each)) and other.key == owner.key), None)
    if beside is not None:
        said = (
            f"packets for {target} go to the same peer of {tunnel.interface} as those for {beside}, which answers: no "
            f"machine there hands them on (as where net.ipv4.ip_forward is 0), or {target} is off or drops them"
        )
        return _likely(said, beside, _on_forwarder(beside, address, tunnel))
    if _near(tunnel, address):
        return None
    said = (
        f"{address} is not in the network of {tunnel.interface}, but behind the peer {owner.key}, whose session lives "
        f"and which answers no probe that ends at it, as a machine that does not forward (net.ipv4.ip_forward is 0)"
    )
    return _likely(said, None, _on_forwarder(None, address, tunnel))


def _near(tunnel: OverlayState, address: str) -> bool:
    """Whether it may be in the tunnel's own network, of which an address without one (a /32) says nothing."""
    wanted = ip_address(address)
    own = [each.network for each in tunnel.addresses if each.version == wanted.version]
    return any(wanted in network or network.num_addresses == 1 for network in own)


def _inside(hop: str | None, interface: str | None, tunnel: OverlayState, address: str) -> bool:
    """Whether another machine than the peer answered through the tunnel."""
    return hop is not None and interface == tunnel.interface and ip_address(hop) != ip_address(address)


def _on_forwarder(host: str | None, address: str, tunnel: OverlayState) -> Remedies:
    own = next((str(each.ip) for each in tunnel.addresses if (":" in str(each.ip)) == (":" in address)), "this node")
    family, switch = ("-6", "net.ipv6.conf.all.forwarding") if ":" in address else ("-4", "net.ipv4.ip_forward")
    return look(
        f"sysctl {switch}; ip {family} route get {address}; iptables-save | grep -i forward; nft list ruleset",
        f"ip {family} route get {own}   # on {address}: it must lead back to {host or 'the machine that forwards'}",
        where="peer",
        host=host,
        root=True,
    )


def _likely(message: str, offender: str | None, remedies: Remedies) -> Observation:
    death = Death(
        code=REACH_UNREACHABLE,
        message=message,
        facts=DeathFacts(offender=offender),
        remedies=remedies,
        certain=False,
    )
    return Observation(station=_FORWARD, finding="killed", packets="inner", death=death)
