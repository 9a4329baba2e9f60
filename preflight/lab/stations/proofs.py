"""Proofs that faults share, and how to look at a network that was built."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from preflight.lab import probe
from preflight.lab.processes import program, run
from preflight.lab.stations.fault import NotThereError
from preflight.lab.stations.making import device

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
        if not probe.passing(network, source, target, at=target, device=device(network, target, source)):
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
    return [rule for rule in _all_rules(network, node) if rule.get("comment") == comment]


def _all_rules(network: "Network", node: str) -> list[dict[str, Any]]:
    text = run(network.command(node, program("nft"), "-j", "list", "ruleset"))
    return [entry["rule"] for entry in json.loads(text)["nftables"] if "rule" in entry]


def handle_of(node: str, comment: str) -> "Callable[[Network], int]":
    """The handle of the only rule with a comment."""

    def find(network: "Network") -> int:
        found = rules(network, node, comment)
        if not found:
            raise NotThereError(f"{node} has no rule with the comment {comment!r}")
        return int(found[0]["handle"])

    return find


def never_leaves(node: str, peer: str) -> Proof:
    """Nothing that a member sends to another one comes to the tap on its own tunnel."""

    def prove(network: "Network") -> None:
        if probe.passing(network, node, peer, at=node, device=device(network, node, peer)):
            raise NotThereError(f"datagrams for {peer} leave through {node}'s tunnel")

    return prove


def dies_between_the_taps(source: str, target: str) -> Proof:
    """Datagrams go into the tunnel of one member, and do not come out of the other's."""

    def prove(network: "Network") -> None:
        if not probe.passing(network, source, target, at=source, device=device(network, source, target)):
            raise NotThereError(f"nothing for {target} goes into {source}'s tunnel")
        comes_out(source, target, no=True)(network)

    return prove


def comes_out(source: str, target: str, *, no: bool = False) -> Proof:
    """Datagrams come out of the target's tunnel; `no`: they do not."""

    def prove(network: "Network") -> None:
        seen = probe.passing(network, source, target, at=target, device=device(network, target, source))
        if bool(seen) is no:
            raise NotThereError(f"{seen} datagrams from {source} come out of {target}'s tunnel")

    return prove


def arrives(source: str, target: str) -> Proof:
    """Datagrams reach a socket of the target."""

    def prove(network: "Network") -> None:
        if not probe.arrivals(network, source, target):
            raise NotThereError(f"no datagram from {source} reaches {target}")

    return prove


def each_of(*proofs: Proof) -> Proof:
    """All of these."""

    def prove(network: "Network") -> None:
        for each in proofs:
            each(network)

    return prove


def newest_handle(node: str, chain: str) -> "Callable[[Network], int]":
    """The handle of the newest rule in a chain of iptables, in the tables of the overlay's first family."""

    def find(network: "Network") -> int:
        family = "ip" if network.plan.families[0] == 4 else "ip6"
        found = [rule for rule in _all_rules(network, node) if (rule["family"], rule["chain"]) == (family, chain)]
        if not found:
            raise NotThereError(f"{node} has no rule in {family} {chain}")
        return max(int(rule["handle"]) for rule in found)

    return find
