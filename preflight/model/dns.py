"""What name resolution says, source by source."""

from dataclasses import dataclass
from typing import Literal

LookupOutcome = Literal["answer", "no-address", "nxdomain", "timeout", "failed"]


@dataclass(frozen=True, slots=True)
class Lookup:
    """What one source says about one name.

    source: the resolver's address, or `system` (hosts file and name-service switch: what programs here really get).
    addresses: in the order given, each once. detail: the rcode or error where the outcome is no answer.
    rtt_ms: until the last of its answers; None if none came.
    """

    source: str
    outcome: LookupOutcome
    addresses: tuple[str, ...] = ()
    rtt_ms: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """One name, asked everywhere: the system's own answer is the one in use."""

    name: str
    system: Lookup
    resolvers: tuple[Lookup, ...]
