"""The results of name resolution, source by source."""

from dataclasses import dataclass
from typing import Literal

LookupOutcome = Literal["answer", "no-address", "nxdomain", "timeout", "failed"]


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer of one source about one name.

    source: the resolver's address, or `system` (hosts file and name-service switch: what programs here get).
    addresses: in the given order, each once. detail: the rcode or error if there is no answer.
    rtt_ms: until its last answer; None if none came.
    """

    source: str
    outcome: LookupOutcome
    addresses: tuple[str, ...] = ()
    rtt_ms: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """One name, asked everywhere: programs use the system's answer."""

    name: str
    system: Lookup
    resolvers: tuple[Lookup, ...]
