"""Policies of IPsec: read from the kernel's messages, and named where they stop a burst."""

import struct
from dataclasses import replace
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton

import pytest

from preflight import codes
from preflight.model.counters import Counters
from preflight.model.ipsec import IpsecPolicy
from preflight.model.network_state import NetworkState
from preflight.proto.way.ipsec import observe_ipsec, parse_policy
from tests.proto.way.seeing import FLOW, B

BLOCK = IpsecPolicy(direction="out", source=ip_network("0.0.0.0/0"), destination=ip_network(f"{B}/32"), blocks=True)


def message(destination: str, bits: int, *, direction: int = 1, action: int = 1, more: bytes = b"") -> bytes:
    """As the kernel sends it: selector, lifetimes, priority, index, direction, action, flags, share, padding."""
    family = AF_INET6 if ":" in destination else AF_INET
    ends = inet_pton(family, destination).ljust(16, b"\0") + bytes(16)
    selector = ends + struct.pack("!4H", 862, 0xFFFF, 0, 0) + struct.pack("=HBBB3xiI", family, bits, 0, 17, 0, 0)
    return selector + bytes(96) + struct.pack("=IIBBBB4x", 7, 9, direction, action, 0, 0) + more


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute of such a message."""
    return struct.pack("=HH", 4 + len(value), kind) + value


@pytest.mark.parametrize(("address", "bits"), [("10.66.0.2", 32), ("fd66::2", 128)])
def test_a_message_of_the_kernel(address: str, bits: int) -> None:
    """Both families; ports and protocol are part of what a policy matches."""
    policy = parse_policy(message(address, bits))
    assert policy is not None
    assert (policy.direction, policy.destination, policy.blocks) == ("out", ip_network(f"{address}/{bits}"), True)
    assert (policy.protocol, policy.destination_port, policy.source_port, policy.priority) == (17, 862, 0, 7)
    assert str(policy).endswith(f"dst {address}/{bits} proto 17 dport 862 dir out")


def test_what_a_policy_is_limited_to() -> None:
    """A template means IPsec; a mark or a virtual interface that it is not known whether it matches."""
    secured = parse_policy(message("10.0.0.0", 8, action=0, more=attribute(5, b"\1" * 64)))
    marked = parse_policy(message("10.0.0.0", 8, more=attribute(21, struct.pack("=II", 7, 0xFF))))
    unmarked = parse_policy(message("10.0.0.0", 8, more=attribute(21, bytes(8))))
    assert secured is not None
    assert marked is not None
    assert unmarked is not None
    assert (secured.blocks, secured.secured) == (False, True)
    assert (marked.special, unmarked.special) == (True, False)


def test_what_is_no_policy_is_left_out() -> None:
    """A message that is cut, or of a kind that this program does not know."""
    assert parse_policy(message("10.0.0.0", 8)[:100]) is None
    assert parse_policy(message("10.0.0.0", 8, direction=3)) is None
    assert parse_policy(message("10.0.0.0", 8, more=b"\1\0\5\0")) is not None


def state(dropped: int, *policies: IpsecPolicy, counter: str = "XfrmOutPolBlock") -> NetworkState:
    """With a counter of what policies dropped."""
    return NetworkState(counters=Counters(values={counter: dropped}), policies=policies)


def test_a_policy_that_blocks_is_named() -> None:
    """With the line that takes it away, for neither nft nor iptables shows it."""
    (found,) = observe_ipsec(state(0), state(6, BLOCK), FLOW, "out", outer=False)
    assert found.death is not None
    assert (found.station.id, found.direction, found.death.code) == ("filter-out", "forward", codes.HOST_FIREWALL_DROP)
    assert "blocks packets to 10.66.0.2, 6 packets meanwhile" in found.death.message
    (remedy,) = found.death.remedies
    assert remedy.lines == ("ip xfrm policy delete src 0.0.0.0/0 dst 10.66.0.2/32 dir out",)


def test_what_is_to_be_protected_is_not_sent_in_clear() -> None:
    """A policy whose keys are missing drops too, and is not to be deleted for that."""
    secured = replace(BLOCK, blocks=False, secured=True)
    (found,) = observe_ipsec(
        state(0, counter="XfrmOutNoStates"), state(2, secured, counter="XfrmOutNoStates"), FLOW, "out", outer=True
    )
    assert found.death is not None
    assert (found.station.id, {each.kind for each in found.death.remedies}) == ("filter-outer", {"next"})


@pytest.mark.parametrize(
    "policy",
    [
        replace(BLOCK, direction="in"),
        replace(BLOCK, destination=ip_network("10.66.0.3/32")),
        replace(BLOCK, destination_port=53),
        replace(BLOCK, protocol=6),
        replace(BLOCK, special=True),
        replace(BLOCK, interface=3),
        replace(BLOCK, blocks=False),
    ],
)
def test_what_does_not_match_is_not_blamed(policy: IpsecPolicy) -> None:
    """Counters belong to the whole node."""
    assert observe_ipsec(state(0), state(6, policy), FLOW, "out", outer=False) == ()


def test_the_first_by_priority_decides() -> None:
    """A policy that lets through comes before one that blocks, or behind it; and nothing is claimed without a count."""
    allows = replace(BLOCK, blocks=False, priority=1)
    assert observe_ipsec(state(0), state(6, replace(BLOCK, priority=2), allows), FLOW, "out", outer=False) == ()
    assert observe_ipsec(state(0), state(6, BLOCK, allows), FLOW, "out", outer=False)
    assert observe_ipsec(state(6), state(6, BLOCK), FLOW, "out", outer=False) == ()
