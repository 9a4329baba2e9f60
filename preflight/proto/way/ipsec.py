"""What the kernel's IPsec policies do with a burst: pure. Layouts are those of linux/xfrm.h.

They are not rules of the firewall: `nft` and `iptables` show nothing of them. A packet that one blocks is refused to
its sender like one that a filter drops, or is counted as dropped by the socket that it was for.
"""

import struct
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Final, Literal

from preflight.codes import HOST_FIREWALL_DROP
from preflight.model.facts import DeathFacts
from preflight.model.fix import IpsecPolicyDelete
from preflight.model.flow import Flow
from preflight.model.ipsec import IpsecPolicy
from preflight.model.network_state import NetworkState
from preflight.model.overlay import IPNetwork
from preflight.model.remedy import Remedies, heal, look
from preflight.proto.way.observation import Death, Observation, PacketClass
from preflight.proto.way.stations import Station
from preflight.proto.way.words import counted

_SELECTOR: Final = struct.Struct("=16s16s8sHBBB3xiI")
_LIFETIMES: Final = 96
_END: Final = struct.Struct("=IIBBBB")
_BODY: Final = 168
"""`xfrm_userpolicy_info`: selector, lifetimes, priority, index, direction, action, flags, share, padding."""
_ATTRIBUTE: Final = struct.Struct("=HH")
_TEMPLATE, _MARK, _IF_ID = 5, 21, 31
_AF_INET, _AF_INET6 = 2, 10
_DIRECTIONS: Final[tuple[Literal["in", "out", "fwd"], ...]] = ("in", "out", "fwd")
_PROTOCOLS: Final = {"udp": 17, "tcp": 6}
BLOCKED: Final = {"out": ("XfrmOutPolBlock",), "in": ("XfrmInPolBlock",)}
UNSECURED: Final = {"out": ("XfrmOutNoStates", "XfrmAcquireError"), "in": ("XfrmInTmplMismatch", "XfrmInNoPols")}
"""Counters of /proc/net/xfrm_stat that grow by what a policy blocks, or by what is not protected as it wants."""


def parse_policy(message: bytes) -> IpsecPolicy | None:
    """One XFRM_MSG_NEWPOLICY message without its header; None for a family or a direction that is not known."""
    if len(message) < _BODY:
        return None
    to, origin, ports, family, to_bits, origin_bits, protocol, interface, _ = _SELECTOR.unpack_from(message)
    priority, _, direction, action, _, _ = _END.unpack_from(message, _SELECTOR.size + _LIFETIMES)
    if family not in (_AF_INET, _AF_INET6) or direction >= len(_DIRECTIONS):
        return None
    kinds = {kind for kind, value in _attributes(message[_BODY:]) if any(value)}
    destination_port, _, source_port, _ = struct.unpack("!4H", ports)
    return IpsecPolicy(
        direction=_DIRECTIONS[direction],
        source=_network(origin, origin_bits, family),
        destination=_network(to, to_bits, family),
        blocks=action == 1,
        secured=_TEMPLATE in kinds,
        protocol=protocol,
        source_port=source_port,
        destination_port=destination_port,
        priority=priority,
        interface=interface,
        special=bool(kinds & {_MARK, _IF_ID}),
    )


def _attributes(data: bytes) -> Iterable[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _network(address: bytes, bits: int, family: int) -> IPNetwork:
    packed = address[:4] if family == _AF_INET else address
    return ip_network((packed, bits), strict=False)


def observe_ipsec(
    before: NetworkState, after: NetworkState, flow: Flow, direction: Literal["in", "out"], *, outer: bool
) -> tuple[Observation, ...]:
    """The policy that drops a flow, if one matches it and its counter has grown; empty if none does.

    flow: as the kernel sees it. outer: it is one of the tunnel's own packets.
    """
    station, way, packets = _PLACES[direction, outer]
    policy = _first(after.policies, flow, direction)
    if policy is None:
        return ()
    counters = BLOCKED[direction] if policy.blocks else UNSECURED[direction] if policy.secured else ()
    dropped = sum(after.counters.since(before.counters, name) or 0 for name in counters)
    if not dropped:
        return ()
    what = "the tunnel's own packets" if outer else "packets"
    ends = f"to {flow.destination}" if direction == "out" else f"from {flow.source}"
    how = "blocks" if policy.blocks else "lets only what IPsec protects pass, and drops"
    death = Death(
        code=HOST_FIREWALL_DROP,
        message=f"an IPsec policy of this node {how} {what} {ends}, {counted(dropped, 'packet')} meanwhile: `{policy}`",
        facts=DeathFacts(address=flow.destination if direction == "out" else flow.source),
        remedies=_remedies(policy, direction),
    )
    return (Observation(station=station, finding="killed", direction=way, packets=packets, death=death),)


def _remedies(policy: IpsecPolicy, direction: Literal["in", "out"]) -> Remedies:
    """What blocks can go; what a policy protects must not be sent in clear."""
    if not policy.blocks:
        return look("ip xfrm state; ip xfrm policy   # why is there no state for it?", root=True)
    return heal(
        lambda: IpsecPolicyDelete(
            direction=direction,
            source=str(policy.source),
            destination=str(policy.destination),
            protocol=policy.protocol or None,
            source_port=policy.source_port or None,
            destination_port=policy.destination_port or None,
            priority=policy.priority,
        ),
        lasting="take it out of what sets the policies up",
    )


_Place = tuple[Station, Literal["forward", "reverse"], PacketClass]
_PLACES: Final[dict[tuple[str, bool], _Place]] = {
    ("out", False): (Station("filter-out"), "forward", "inner"),
    ("out", True): (Station("filter-outer"), "forward", "data"),
    ("in", False): (Station("input", "receiver"), "reverse", "inner"),
    ("in", True): (Station("input-outer", "receiver"), "reverse", "data"),
}


def _first(policies: Iterable[IpsecPolicy], flow: Flow, direction: str) -> IpsecPolicy | None:
    """The policy that decides on a flow: the one with the smallest priority, of those that match."""
    matching = (each for each in policies if each.direction == direction and _matches(each, flow))
    return min(matching, key=lambda each: each.priority, default=None)


def _matches(policy: IpsecPolicy, flow: Flow) -> bool:
    """Whether it is known to; one for marks, or for one device, is not."""
    ends = ((flow.source, policy.source), (flow.destination, policy.destination))
    ports = ((policy.source_port, flow.source_port), (policy.destination_port, flow.destination_port))
    return (
        not policy.special
        and not policy.interface
        and policy.protocol in (0, _PROTOCOLS.get(flow.protocol))
        and all(not wanted or wanted == port for wanted, port in ports)
        and all(bool(each) and ip_address(each) in network for each, network in ends)
    )
