"""Whether the product's own rules let a burst leave, or come in: the station `session`. Pure."""

from ipaddress import ip_address

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.product_policy import Permit
from preflight.model.remedy import by_hand
from preflight.proto.way.observation import Death, Observation
from preflight.proto.way.stations import Station
from preflight.proto.way.tunnel_view import TunnelView, inside, messages, on_the_wire

SESSION = Station("session")
_SESSION_IN = Station("session", "receiver")


def observe_policy(view: TunnelView) -> tuple[Observation, ...]:
    """The product's rules, if none of them lets the burst out; empty otherwise.

    A rule may be for names or groups of certificates, which show no address: one for another host than the peer does
    not let it out, and one for a group does not where the product has a session with the peer, and sends nothing in it.
    Only where the tunnel took the burst and nothing of its size left by any device, this is proven.
    """
    policy = view.after.policy
    if policy is None or view.burst.answered:
        return ()
    fitting = [each for each in policy.permits if _lets_out(view, each)]
    if fitting and (any(_for_anybody(view, each) for each in fitting) or not _stays(view)):
        return ()
    taken = inside(view, outgoing=True)
    permits = "; ".join(map(_shown, policy.permits)) or "nothing"
    message = (
        f"the rules of {view.after.product} on this node do not let its packets to {view.target} ({view.address} UDP "
        f"port {view.burst.flow.destination_port}) out: in {policy.file}, firewall.outbound lets out {permits}"
    )
    remedies = by_hand(
        f"Add a rule for {view.target} to firewall.outbound in {policy.file}, and let {view.after.product} read it "
        "again."
    )
    death = Death(
        code=codes.REACH_NO_FORWARD,
        message=message,
        facts=DeathFacts(file=policy.file),
        remedies=remedies,
        certain=bool(taken) and view.tapped.complete and not _left(view),
    )
    found = Observation(station=SESSION, finding="killed", packets="inner", sent=view.burst.sent, death=death)
    return (found,)


def observe_inbound(view: TunnelView) -> tuple[Observation, ...]:
    """The same of what an asker sends to this node's responder, from whose port the burst is sent; empty if it may.

    What this node sends lets answers come in, so only what came out of the tunnel before that shows an open way.
    """
    policy, port = view.after.policy, view.burst.flow.source_port
    if policy is None or policy.inbound is None or any(_lets_pass(view, each, port) for each in policy.inbound):
        return ()
    left = min((packet.received_ns for packet in inside(view, outgoing=True)), default=view.read_ns)
    if any(packet.received_ns < left for packet in inside(view, outgoing=False)):
        return ()
    death = Death(
        code=codes.OVERLAY_POLICY_DROP,
        message=f"firewall.inbound in {policy.file} lets no UDP to port {port} in from {view.address}",
        facts=DeathFacts(port=port),
        certain=not any(each.named for each in policy.inbound),  # the asker's name is in its certificate only
    )
    return (Observation(station=_SESSION_IN, finding="killed", direction="reverse", packets="inner", death=death),)


def _lets_out(view: TunnelView, permit: Permit) -> bool:
    return _lets_pass(view, permit, view.burst.flow.destination_port)


def _lets_pass(view: TunnelView, permit: Permit, port: int | None) -> bool:
    """Whether a rule is for UDP with the peer, to a port."""
    address = ip_address(view.address)
    if permit.protocol not in (None, "udp"):
        return False
    if permit.ports is not None and port is not None and not permit.ports[0] <= port <= permit.ports[1]:
        return False
    if not permit.to and not permit.named:
        return True
    in_network = any(address.version == each.version and address in each for each in permit.to)
    return in_network or f"host {view.target}" in permit.named or any(not _is_host(each) for each in permit.named)


def _for_anybody(view: TunnelView, permit: Permit) -> bool:
    """Whether a rule that fits does so by an address, or without a condition."""
    if not permit.to and not permit.named:
        return True
    address = ip_address(view.address)
    in_network = any(address.version == each.version and address in each for each in permit.to)
    return in_network or f"host {view.target}" in permit.named


def _stays(view: TunnelView) -> bool:
    """Whether the product has a session with the peer, and still sends nothing of the burst in it."""
    peer, taken = view.peer, inside(view, outgoing=True)
    settled = not messages(on_the_wire(view).out, "initiation")
    return peer is not None and bool(peer.endpoint) and bool(taken) and settled and not _left(view)


def _is_host(name: str) -> bool:
    return name.startswith("host ")


def _left(view: TunnelView) -> bool:
    """Whether any of the tunnel's own packets that may hold one of the burst left this node."""
    return any(
        packet.outgoing
        and packet.tunnel is not None
        and packet.tunnel.kind == "data"
        and packet.tunnel.carries(view.burst.flow.length_bytes)
        for packet in view.tapped.packets
    )


def _shown(permit: Permit) -> str:
    ports = "" if permit.ports is None else f" port {permit.ports[0]}" if len(set(permit.ports)) == 1 else (
        f" ports {permit.ports[0]} to {permit.ports[1]}"
    )  # fmt: skip
    whom = " or ".join((*map(str, permit.to), *permit.named)) or "anybody"
    return f"{permit.protocol or 'anything'}{ports} for {whom}"
