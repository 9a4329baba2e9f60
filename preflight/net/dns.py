"""Name resolution, resolver by resolver, and what programs on this node really get."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from preflight.model.dns import Lookup, LookupOutcome, Resolution
from preflight.model.event import Listener, telling
from preflight.net.lookup import system_lookup
from preflight.proto.control.url import ControlUrl

MOST_ADDRESSES = 16
"""Of one name: this node connects to no more of them. A name may have thousands, and each costs a socket."""
RESOLV_CONF = Path("/etc/resolv.conf")
_RDTYPES = (dns.rdatatype.A, dns.rdatatype.AAAA)


class Resolver:
    """Asks every configured resolver separately, to show one that is silent or that answers differently.

    nameservers: addresses to ask; by default those of resolv.conf. port: UDP and TCP port of all of them.
    timeout_s: for one query; attempts: how often it is sent before a resolver counts as silent.
    """

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        *,
        port: int = 53,
        search: Sequence[str] = (),
        ndots: int = 1,
        timeout_s: float = 1.5,
        attempts: int = 2,
        listener: Listener | None = None,
    ) -> None:
        self._nameservers = nameservers
        self._port = port
        self._search = tuple(search)
        self._ndots = ndots
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._listener = listener

    async def resolve(self, name: str) -> Resolution:
        """Ask the system and all resolvers about a name at the same time; every failure is data."""
        configured = self if self._nameservers is not None else self._from_file(RESOLV_CONF)
        candidates = candidate_names(name, configured._search, configured._ndots)
        patience = self._timeout_s * self._attempts + 1.0
        system, *resolvers = await asyncio.gather(
            self.system(name, patience),
            *(self._first_found(server, candidates) for server in configured._nameservers or ()),
        )
        return Resolution(name, system, tuple(resolvers))

    async def addresses(self, url: ControlUrl) -> Sequence[str]:
        """Where programs on this node connect to for a URL: its literal, or the first of the name's addresses."""
        if url.address is not None:
            return (url.host,)
        return (await self.system(url.host)).addresses[:MOST_ADDRESSES]

    async def system(self, name: str, timeout_s: float = 4.0) -> Lookup:
        """Only what programs on this node get: hosts file, name-service switch, resolvers."""
        return await system_lookup(name, timeout_s, self._listener)

    def _from_file(self, path: Path) -> "Resolver":
        """The resolvers of resolv.conf; the C library asks 127.0.0.1 if the file names none."""
        reader = dns.resolver.Resolver(configure=False)
        try:
            reader.read_resolv_conf(str(path))
        except (dns.resolver.NoResolverConfiguration, OSError):
            reader.nameservers = ["127.0.0.1"]
        return Resolver(
            [str(server) for server in reader.nameservers],
            port=self._port,
            search=[suffix.to_text(omit_final_dot=True) for suffix in reader.search],
            ndots=1 if reader.ndots is None else reader.ndots,
            listener=self._listener,
        )

    async def _first_found(self, server: str, candidates: Sequence[str]) -> Lookup:
        """The first candidate with an address, or the lookup of the last one."""
        lookup = Lookup(server, "nxdomain")
        for candidate in candidates:
            lookup = await self._ask(server, candidate)
            if lookup.outcome in ("answer", "timeout"):
                break
        return lookup

    async def _ask(self, server: str, name: str) -> Lookup:
        """A and AAAA of one absolute name from one resolver."""
        began = time.perf_counter()
        answers = await asyncio.gather(*(self._query(server, name, rdtype) for rdtype in _RDTYPES))
        merged = merge(server, answers)
        return merged if merged.outcome == "timeout" else replace(merged, rtt_ms=(time.perf_counter() - began) * 1000)

    async def _query(self, server: str, name: str, rdtype: dns.rdatatype.RdataType) -> Lookup:
        """One record type of one absolute name from one resolver; a query without an answer is repeated."""
        tell = telling(self._listener, "dns", name)
        query, kind = dns.message.make_query(name, rdtype), dns.rdatatype.to_text(rdtype)
        for attempt in range(1, self._attempts + 1):
            tell(time.monotonic(), "question-sent", resolver=server, type=kind, attempt=attempt)
            try:
                response, _tcp = await dns.asyncquery.udp_with_fallback(
                    query, server, self._timeout_s, self._port, ignore_unexpected=True, ignore_errors=True
                )
                answer = read_answer(server, response)
            except dns.exception.Timeout:
                continue
            except (OSError, EOFError, dns.exception.DNSException) as error:
                answer = Lookup(server, "failed", detail=getattr(error, "strerror", None) or type(error).__name__)
            tell(
                time.monotonic(),
                "question-ended",
                resolver=server,
                type=kind,
                outcome=answer.outcome,
                addresses=answer.addresses,
                detail=answer.detail,
            )
            return answer
        tell(time.monotonic(), "question-unanswered", resolver=server, type=kind, attempts=self._attempts)
        waited = self._timeout_s * self._attempts
        return Lookup(server, "timeout", detail=f"no answer to {self._attempts} queries within {waited:g} s")


def candidate_names(name: str, search: Sequence[str], ndots: int) -> list[str]:
    """The absolute names that the C library tries, in its order (resolv.conf(5): search, ndots)."""
    if name.endswith("."):
        return [name]
    suffixed = [f"{name}.{suffix.strip('.')}." for suffix in search if suffix.strip(".")]
    absolute = f"{name}."
    return [absolute, *suffixed] if name.count(".") >= ndots else [*suffixed, absolute]


def read_answer(server: str, response: dns.message.Message) -> Lookup:
    """One response as data; CNAMEs are followed within it. Raises DNSException if it is malformed."""
    rcode = response.rcode()
    if rcode == dns.rcode.NXDOMAIN:
        return Lookup(server, "nxdomain")
    if rcode != dns.rcode.NOERROR or not isinstance(response, dns.message.QueryMessage):
        return Lookup(server, "failed", detail=dns.rcode.to_text(rcode))
    rrset = response.resolve_chaining().answer
    if rrset is None:
        return Lookup(server, "no-address")
    addresses = tuple(dict.fromkeys(record.address for record in rrset if isinstance(record, A | AAAA)))
    return Lookup(server, "answer", addresses) if addresses else Lookup(server, "failed", detail="no usable records")


def merge(server: str, answers: Sequence[Lookup]) -> Lookup:
    """The A and the AAAA answer of one resolver as one: an address counts most, then a silence, then an error."""
    addresses = tuple(address for answer in answers for address in answer.addresses)
    by_outcome: dict[LookupOutcome, Lookup] = {answer.outcome: answer for answer in answers}
    bad = next((by_outcome[kind] for kind in ("timeout", "failed") if kind in by_outcome), None)
    if addresses:
        return Lookup(server, "answer", addresses, detail=bad.detail if bad else "")
    if bad is not None:
        return replace(bad, source=server)
    # A name with records of another type exists: one NXDOMAIN with an empty answer comes from a broken resolver.
    outcome: LookupOutcome = "nxdomain" if all(answer.outcome == "nxdomain" for answer in answers) else "no-address"
    return Lookup(server, outcome)
