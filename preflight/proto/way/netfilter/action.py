"""What a rule does with a packet other than its verdict."""

from dataclasses import dataclass
from typing import Literal

from preflight.proto.way.netfilter.bits import Bits, Tri

Stopping = Literal["reject", "queue", "take", "proxy", "unknown"]
Translating = Literal["snat", "masquerade", "dnat", "redirect"]
ActionKind = Literal[Stopping, Translating, "rewrite", "mark", "notrack"]
"""queue: a program decides. take: it goes to another device. proxy: to a socket of this node. rewrite: without
tracking. unknown: nobody here knows what this does."""
ENDING: frozenset[ActionKind] = frozenset(
    ("reject", "snat", "masquerade", "dnat", "redirect", "proxy", "queue", "take", "unknown")
)
"""Behind these a chain does not go on."""


@dataclass(frozen=True, slots=True)
class Action:
    """One of them. sure: whether the packet gets so far in the rule.

    source, destination, source_port, destination_port: what the packet gets, None where that stays or is not known.
    mark: what its mark becomes.
    """

    kind: ActionKind
    sure: Tri
    source: str | None = None
    source_port: int | None = None
    destination: str | None = None
    destination_port: int | None = None
    mark: Bits | None = None
