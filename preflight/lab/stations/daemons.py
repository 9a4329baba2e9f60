"""Daemons of Nebula and OpenVPN that faults change: another configuration, another start, an end."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml

from preflight.lab import processes, tunnels
from preflight.lab.names import LabError

if TYPE_CHECKING:
    from preflight.lab.network import Network

GRACE_S, READY_S, LOOK_S = 3.0, 10.0, 0.02
NEBULA_READY = "Nebula interface is active"
ANSWERED = "TLS: Initial packet from"
"""What OpenVPN says when its remote end has answered."""

COMPLETED = "Initialization Sequence Completed"


def end(network: "Network", node: str) -> None:
    """End a member's daemon, as its unit does; its device goes with it."""
    mark = network.names.mark(f"tunnel-{node}")
    processes.end(lambda pid: processes.mark_of(pid) == mark, grace=GRACE_S)


def changed_nebula(network: "Network", node: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a member's configuration of Nebula, which does not read it yet."""
    path = network.names.etc(node) / "nebula" / "config.yml"
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(config)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


def nebula_again(network: "Network", node: str) -> None:
    """Start a member's Nebula again, and wait until it has its interface."""
    end(network, node)
    said = _count(network, node, "nebula", NEBULA_READY)
    tunnels.start_nebula(network, node)
    wait(network, node, "nebula", NEBULA_READY, said)


def changed_openvpn(network: "Network", node: str, *lines: str) -> None:
    """Add lines to a member's configuration of OpenVPN, which does not read it yet."""
    path = tunnels.openvpn_file(network, node)
    path.write_text(path.read_text(encoding="ascii") + "".join(f"{line}\n" for line in lines), encoding="ascii")


def openvpn_again(network: "Network", node: str, until: str) -> None:
    """Start a member's OpenVPN again, and wait until its log has these words."""
    end(network, node)
    said = _count(network, node, "openvpn", until)
    tunnels.start_openvpn(network, node)
    wait(network, node, "openvpn", until, said)


def wait(network: "Network", node: str, product: str, words: str, before: int) -> None:
    """Return when a member's log has words more often than before. Raises LabError if it has not in time."""
    deadline = time.monotonic() + READY_S
    while _count(network, node, product, words) <= before:
        if time.monotonic() > deadline:
            raise LabError(f"{node}'s {product} does not say {words!r} in time")
        time.sleep(LOOK_S)


def _count(network: "Network", node: str, product: str, words: str) -> int:
    log = network.names.files(node) / f"{product}.log"
    return log.read_text(encoding="utf-8", errors="replace").count(words)
