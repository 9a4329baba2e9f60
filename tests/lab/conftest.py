"""Networks of the lab without its programs: enough to see whether a fault is real."""

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preflight.lab import build, tunnels
from preflight.lab.keys import TunnelKeys
from preflight.lab.names import LabNames
from preflight.lab.network import Network, inside
from preflight.lab.scenarios import scenario_called
from preflight.lab.site import wait_for_answer
from preflight.lab.topology import overlay_address


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Callable[[str], Network]]:
    """Build the network of a scenario, with its faults; nothing is left of it after the test."""
    names = LabNames.of(f"test-{secrets.token_hex(4)}", tmp_path)

    def make(scenario_name: str) -> Network:
        scenario = scenario_called(scenario_name)
        assert scenario is not None
        plan = scenario.plan()
        for node in plan.topology.members:
            names.files(node).mkdir(parents=True)
        made = Network(names, plan, {node: TunnelKeys.fresh() for node in plan.topology.members})
        deadline = time.monotonic() + 20
        made.lay_underlay()
        for part in scenario.faults:
            part.underlay(made)
        tunnels.build(made, deadline)
        for part in scenario.faults:
            part.tunnels(made)
        with inside(names.namespace("a")):
            for node in plan.topology.members[1:]:
                wait_for_answer(plan.address(node, plan.families[0]), 1, deadline)
        for part in scenario.faults:
            part.inject(made)
        return made

    names.directory.mkdir()
    yield make
    build.down(names)


@pytest.fixture
def arrivals() -> Callable[..., int]:
    """Count how many of `count` datagrams arrive one way; nothing is sent back. size: of the packet in the tunnel."""

    def count_arrivals(network: Network, source: str, target: str, *, size: int = 200, count: int = 5) -> int:
        bursts = [range(first, min(first + 25, count)) for first in range(0, count, 25)]
        return sum(len(_send(network, source, target, burst, size)) for burst in bursts)

    return count_arrivals


@pytest.fixture
def sequence() -> Callable[..., list[int]]:
    """Send 100 numbered datagrams one way, and return the numbers as they arrive."""
    return lambda network, source, target: _send(network, source, target, range(100), 200, pause_s=0.002)


def _send(network: Network, source: str, target: str, numbers: range, size: int, *, pause_s: float = 0.0) -> list[int]:
    """Numbered datagrams in packets of `size` bytes, which are never fragmented inside the tunnel."""
    headers, port = 28, 40000
    with inside(network.names.namespace(target)):
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with inside(network.names.namespace(source)):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, sender:
        # A tunnel that is gone has taken its addresses with it: bind to none.
        receiver.bind(("", port))
        receiver.settimeout(0.4)
        sender.setsockopt(socket.IPPROTO_IP, 10, 3)  # IP_MTU_DISCOVER, PROBE
        for number in numbers:
            try:
                sender.sendto(number.to_bytes(size - headers), (overlay_address(target, 4), port))
            except OSError:
                continue  # refused at home: it does not arrive either
            time.sleep(pause_s)
        arrived = []
        try:
            # Once all are there, a short look for duplicates of the last ones.
            while True:
                arrived.append(int.from_bytes(receiver.recv(2000)))
                if len(set(arrived)) == len(numbers):
                    receiver.settimeout(0.1)
        except TimeoutError:
            return arrived
