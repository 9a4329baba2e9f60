"""What a kernel (6.18, x86-64) said of some rules, and flows to ask about them.

recorded.json holds the rules as they were loaded, the messages of nfnetlink, and what getsockopt gave.
"""

import json
import sys
from pathlib import Path

import pytest

from preflight.model.flow import Flow
from preflight.proto.way.netfilter import legacy
from preflight.proto.way.netfilter.nftables import Message, ruleset_of
from preflight.proto.way.netfilter.ruleset import Chain, FilterSnapshot, Ruleset, Tracked

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text(encoding="ascii"))
OF_THIS_KIND = pytest.mark.skipif(sys.byteorder != "little", reason="recorded where numbers begin with the last byte")
DEVICES = {"lo": 1, "eth0": 2, "wg0": 3}


def ruleset(name: str) -> Ruleset:
    """A recorded ruleset of nftables."""
    found = ruleset_of(Message(kind, family, bytes.fromhex(data)) for kind, family, data in RECORDED[name]["messages"])
    return Ruleset(found.chains, found.sets, DEVICES)


def legacy_ruleset() -> Ruleset:
    """The recorded tables of iptables-legacy."""
    chains: list[Chain] = []
    for level, answers in RECORDED["legacy"]["tables"].items():
        layout = legacy.IPV4 if level == "0" else legacy.IPV6
        for info, entries in zip(answers[::2], answers[1::2], strict=True):
            table = legacy.table_info(bytes.fromhex(info))
            chains += legacy.chains_of(table, bytes.fromhex(entries)[legacy.ENTRIES_HEADER_BYTES :], layout)
    return Ruleset(tuple(chains), {}, DEVICES)


def flow(port: int, destination: str = "10.66.0.2", device: str = "wg0", length_bytes: int = 100) -> Flow:
    """A flow that this node sends."""
    source = "fd66::1" if ":" in destination else "10.66.0.1"
    return Flow(
        source=source,
        destination=destination,
        source_port=40000,
        destination_port=port,
        interface_out=device,
        length_bytes=length_bytes,
    )


def snapshot(rules: Ruleset, tracked: dict[Flow, Tracked | None] | None = None) -> FilterSnapshot:
    """A reading with these rules."""
    return FilterSnapshot(ruleset=rules, tracked=tracked or {}, addresses=frozenset(("10.66.0.1", "fd66::1")))
