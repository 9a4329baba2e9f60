"""Proofs that faults share, and how to look at a network that was built."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from preflight.lab import probe
from preflight.lab.processes import program, run
from preflight.lab.stations.fault import NotThereError

if TYPE_CHECKING:
    from preflight.lab.network import Network

Proof = Callable[["Network"], None]


def dies(source: str, target: str) -> Proof:
    """No datagram from `source` reaches `target` through the overlay."""

    def prove(network: "Network") -> None:
        if probe.arrivals(network, source, target):
            raise NotThereError(f"datagrams from {source} reach {target}")

    return prove


def dies_behind_the_tap(source: str, target: str) -> Proof:
    """Datagrams pass the target's tunnel device, and none reaches a socket there."""

    def prove(network: "Network") -> None:
        if not probe.passing(network, source, target, at=target, device=network.names.tunnel(target)):
            raise NotThereError(f"nothing from {source} comes out of {target}'s tunnel")
        dies(source, target)(network)

    return prove


def large_ones_die(source: str, target: str, size: int) -> Proof:
    """Small datagrams arrive, and those of `size` bytes do not."""

    def prove(network: "Network") -> None:
        if not probe.arrivals(network, source, target):
            raise NotThereError(f"not even small datagrams from {source} reach {target}")
        if probe.arrivals(network, source, target, size=size):
            raise NotThereError(f"datagrams of {size} bytes from {source} reach {target}")

    return prove


def rules(network: "Network", node: str, comment: str) -> list[dict[str, Any]]:
    """The firewall rules of a node with a comment, as nft prints them in JSON."""
    text = run(network.command(node, program("nft"), "-j", "list", "ruleset"))
    entries = (entry["rule"] for entry in json.loads(text)["nftables"] if "rule" in entry)
    return [rule for rule in entries if rule.get("comment") == comment]


def handle_of(node: str, comment: str) -> "Callable[[Network], int]":
    """The handle of the only rule with a comment."""

    def find(network: "Network") -> int:
        found = rules(network, node, comment)
        if not found:
            raise NotThereError(f"{node} has no rule with the comment {comment!r}")
        return int(found[0]["handle"])

    return find
