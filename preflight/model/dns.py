"""The results of name resolution, source by source."""

import re
from dataclasses import dataclass
from typing import Literal

LookupOutcome = Literal[
    "answer",
    "no-address",
    "stripped",
    "nxdomain",
    "timeout",
    "truncated",
    "refused",
    "rejected",
    "unreachable",
    "failed",
]
"""stripped: the resolver says that it left the addresses out. truncated: the answer is too long for UDP, and TCP does
not bring it. refused: nobody listens there. unreachable: no question leaves for it. rejected: the resolver answers that
it does not answer this node."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer of one source about one name.

    source: the resolver's address, or `system` (hosts file and name-service switch: what programs here get).
    addresses: in the given order, each once. detail: the rcode or error if there is no answer.
    rtt_ms: until its last answer; None if none came. asked: the absolute name, without its last dot, where it is known.
    unanswered: the type of record, A or AAAA, about which an answering resolver says nothing.
    """

    source: str
    outcome: LookupOutcome
    addresses: tuple[str, ...] = ()
    rtt_ms: float | None = None
    detail: str = ""
    asked: str = ""
    unanswered: str = ""


@dataclass(frozen=True, slots=True)
class NameFiles:
    """This node's own files about a name: what a resolver library reads before it asks anyone.

    switch: the line `hosts` of nsswitch.conf; nothing where there is none. hosts: the name's addresses in the hosts
    file. written_by: who writes resolv.conf, if that file is only a link to another one. names_resolver: whether it
    names any; the C library asks 127.0.0.1 where it does not. signed: the program that its comment says wrote it.
    completes: whether a search list makes longer names of short ones.
    """

    switch: str = ""
    hosts: tuple[str, ...] = ()
    written_by: str = ""
    names_resolver: bool = True
    signed: str = ""
    completes: bool = True

    @property
    def services(self) -> tuple[str, ...]:
        """The services of the name-service switch in their order, without what to do about their answers."""
        return tuple(re.sub(r"\[[^]]*\]?", " ", self.switch).split())

    @property
    def asks_no_resolver(self) -> bool:
        """Whether the name-service switch is set, and names no service that asks resolvers."""
        return bool(self.services) and not {"dns", "resolve"} & set(self.services)

    @property
    def asks_hosts_first(self) -> bool:
        """Whether programs look into the hosts file before they ask anyone."""
        return not self.services or self.services[0] == "files"


@dataclass(frozen=True, slots=True)
class Resolution:
    """One name, asked everywhere: programs use the system's answer.

    further: what the first resolver that answered says about the names that the search list would try later.
    """

    name: str
    system: Lookup
    resolvers: tuple[Lookup, ...]
    further: tuple[Lookup, ...] = ()
    files: NameFiles = NameFiles()

    @property
    def all_addresses(self) -> list[str]:
        """What any source said, each address once."""
        lookups = (self.system, *self.resolvers, *self.further)
        return list(dict.fromkeys(address for lookup in lookups for address in lookup.addresses))
