"""Events of a trace, as bytes: which packet of which flow was dropped, although numbers repeat."""

import struct

from preflight.proto.way.netfilter.attributes import attribute
from preflight.proto.way.netfilter.nftables import Message
from preflight.proto.way.netfilter.trace import TRACE, batch, dropped

from .recordings import flow

OURS = flow(862)


def event(
    chain: str,
    *,
    packet: int = 7,
    port: int | None = None,
    handle: int | None = None,
    code: int | None = None,
    policy: int | None = None,
) -> Message:
    """One event. port: with the headers of a packet to this port."""
    data = attribute(1, b"guard\0") + attribute(2, chain.encode() + b"\0") + attribute(6, struct.pack("!I", packet))
    data += attribute(4, struct.pack("!I", 3 if policy is None else 1))
    if port is not None:
        network = struct.pack("!9xB2x", 17) + bytes((10, 66, 0, 1, 10, 66, 0, 2))
        data += attribute(8, b"\x45" + network[1:]) + attribute(9, struct.pack("!HHI", 40000, port, 0))
    if handle is not None:
        data += attribute(3, struct.pack("!Q", handle))
    if code is not None:
        data += attribute(5, attribute(1, struct.pack("!i", code)))
    if policy is not None:
        data += attribute(16, struct.pack("!I", policy))
    return Message(TRACE, 1, data)


def test_a_rule_that_drops() -> None:
    """The rule may be in a chain that another one called: the station is that of the first."""
    events = [event("output", port=862, handle=2, code=-3), event("other", handle=5, code=0)]
    (found,) = dropped(events, [OURS])
    assert (found.base, found.chain, found.handle) == (("inet", "guard", "output"), "other", 5)


def test_a_policy_that_drops() -> None:
    """A policy has no handle; one that accepts kills nothing, and neither does the end of a chain."""
    events = [event("output", port=862, policy=1), event("output", code=-1), event("output", policy=0)]
    (found,) = dropped(events, [OURS])
    assert found.handle is None


def test_numbers_repeat() -> None:
    """Protects from a false accusation: the next packet in the same buffer belongs to another flow."""
    events = [event("output", port=862, handle=2, code=1), event("output", port=53, handle=9, code=0)]
    assert dropped(events, [OURS]) == []


def test_events_without_headers_are_nobody_s() -> None:
    """The first event of a packet may be lost: what follows is not joined to any flow."""
    assert dropped([event("output", handle=2, code=0)], [OURS]) == []


def test_each_flow_has_its_rules() -> None:
    """One table, two chains, and a rule for each flow in each of them."""
    assert [kind for kind, _ in batch("t", [OURS, flow(1, "fd66::2")])] == [0, 3, 3, 6, 6, 6, 6]
