"""ICMP errors about a tunnel's own packets, read next to the daemon that keeps them to itself."""

import socket
import subprocess
import time
from dataclasses import replace

import pytest

from preflight.model.flow import Flow
from preflight.model.outer_error import OuterError
from preflight.net.way.errors import OuterErrors
from tests.net.way.network_namespace import namespaces

FLOW = Flow(source="10.5.0.1", destination="10.5.0.2", source_port=51820, destination_port=51821)
SIX = replace(FLOW, source="fd05::1", destination="fd05::2")


def errors_about(flow: Flow, *, sent: int = 1, wait_s: float = 2.0, errors: int = 1) -> tuple[OuterError, ...]:
    """Send datagrams of the flow as a daemon does, and read what comes back until that number of errors is there."""
    family = socket.AF_INET6 if flow.is_ipv6 else socket.AF_INET
    found: tuple[OuterError, ...] = ()
    with OuterErrors(flow) as watching, socket.socket(family, socket.SOCK_DGRAM) as daemon:
        daemon.bind((flow.source, flow.source_port))
        for _ in range(sent):
            try:
                daemon.sendto(bytes(40), (flow.destination, flow.destination_port))
            except OSError:
                continue  # a reject on output: the datagram was sent all the same
        deadline = time.monotonic() + wait_s
        while len(found) < errors and time.monotonic() < deadline:
            time.sleep(0.01)
            found += watching.taken()
    return found


@pytest.mark.lab
@pytest.mark.parametrize("flow", [FLOW, SIX])
def test_a_closed_port_is_heard_with_its_sender(flow: Flow) -> None:
    """The offender is the host, and the quoted ports are the flow's."""
    with namespaces():
        (found,) = errors_about(flow)
    assert (found.offender, found.meaning) == (flow.destination, "port unreachable")
    assert (found.source_port, found.destination_port, found.payload_bytes) == (51820, 51821, 40)


@pytest.mark.lab
def test_errors_about_other_flows_are_left_out() -> None:
    """Every error of the machine comes to a raw socket."""
    with namespaces(), OuterErrors(replace(FLOW, destination_port=9)) as watching:
        assert len(errors_about(FLOW)) == 1
        assert watching.taken() == ()


@pytest.mark.lab
@pytest.mark.parametrize("flow", [FLOW, SIX])
def test_this_node_s_own_reject_comes_from_itself(flow: Flow) -> None:
    """Nothing leaves, and the error's sender is this node."""
    rule = "add rule inet f o udp dport 51821 reject with icmpx type admin-prohibited"
    with namespaces() as (here, _):
        table = "add table inet f\nadd chain inet f o { type filter hook output priority 0; }\n"
        subprocess.run(["ip", "netns", "exec", here, "nft", "-f", "-"], input=table + rule, text=True, check=True)
        (found,) = errors_about(flow)
    assert (found.offender, found.meaning) == (flow.source, "administratively prohibited")


@pytest.mark.lab
def test_a_silent_neighbour_is_reported_by_this_node_itself() -> None:
    """After 3.1 s the kernel gives up on what waits for a hardware address."""
    silent = replace(FLOW, destination="10.5.0.77")
    with namespaces():
        (found, *_) = errors_about(silent, wait_s=6.0)
    assert (found.offender, found.unreachable) == ("10.5.0.1", True)


def test_nothing_is_taken_before_it_watches() -> None:
    """A caller without the privilege has nothing to clean up."""
    assert OuterErrors(FLOW).taken() == ()
