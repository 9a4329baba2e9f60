"""Questions to name servers, one by one: dnspython's messages over UDP and TCP."""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import dns.asyncbackend
import dns.asyncquery
import dns.edns
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from preflight.model.dns import Lookup, LookupOutcome
from preflight.model.event import Listener, telling
from preflight.proto.control.naming import is_resolver_line

_RDTYPES = (dns.rdatatype.A, dns.rdatatype.AAAA)
_STRIPPED = frozenset({dns.edns.EDECode.BLOCKED, dns.edns.EDECode.FILTERED, dns.edns.EDECode.PROHIBITED})
"""The extended errors (RFC 8914) of resolvers that leave addresses out of their answers."""


class Configured(NamedTuple):
    """What resolv.conf says."""

    nameservers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int


def configured(path: Path) -> Configured:
    """The resolvers of resolv.conf; the C library asks 127.0.0.1 if the file names none."""
    reader = dns.resolver.Resolver(configure=False)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if is_resolver_line(line) or line.split()[:1] != ["nameserver"]]
        reader.read_resolv_conf(StringIO("\n".join(kept)))
    except (dns.resolver.NoResolverConfiguration, OSError):
        reader.nameservers = ["127.0.0.1"]
    return Configured(
        tuple(str(server) for server in reader.nameservers),
        tuple(suffix.to_text(omit_final_dot=True) for suffix in reader.search),
        1 if reader.ndots is None else reader.ndots,
    )


class Questions:
    """Asks one name server at a time. port: UDP and TCP port of all of them.

    timeout_s: for one query; attempts: how often it is sent before a resolver counts as silent: each half a time-out
    behind the one before, whose answer still counts.
    """

    def __init__(self, port: int, timeout_s: float, attempts: int, listener: Listener | None) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._listener = listener

    @property
    def patience_s(self) -> float:
        """How long one resolver may be silent."""
        return self._timeout_s * (1 + (self._attempts - 1) / 2)

    async def first_found(self, server: str, candidates: Sequence[str]) -> Lookup:
        """The first candidate with an address, or else the first one that exists, or the lookup of the last one."""
        lookup, exists = Lookup(server, "nxdomain"), None
        for candidate in candidates:
            lookup = await self.ask(server, candidate)
            if lookup.outcome in ("answer", "timeout", "refused"):
                return lookup
            exists = exists or (lookup if lookup.outcome != "nxdomain" else None)
        return exists or lookup

    async def ask(self, server: str, name: str) -> Lookup:
        """A and AAAA of one absolute name from one resolver."""
        began = time.perf_counter()
        answers = await asyncio.gather(*(self._query(server, name, rdtype) for rdtype in _RDTYPES))
        merged = replace(merge(server, answers), asked=name.rstrip("."))
        if merged.outcome == "timeout":
            return merged
        if merged.outcome == "no-address":
            merged = await self._why_empty(merged, name)
        elif merged.outcome == "failed":
            merged = replace(merged, detail=await self._why_failed(merged, name))
        return replace(merged, rtt_ms=(time.perf_counter() - began) * 1000)

    async def _query(self, server: str, name: str, rdtype: dns.rdatatype.RdataType) -> Lookup:
        """One record type of one absolute name from one resolver; a query without an answer is repeated."""
        tell = telling(self._listener, "dns", name)
        query, kind = dns.message.make_query(name, rdtype), dns.rdatatype.to_text(rdtype)
        asked: list[asyncio.Task[Lookup]] = []
        try:
            for attempt in range(1, self._attempts + 1):
                tell(time.monotonic(), "question-sent", resolver=server, type=kind, attempt=attempt)
                asked.append(asyncio.create_task(self._exchange(server, query)))
                answer = await first_answer(asked, self._timeout_s / 2 if attempt < self._attempts else None)
                if answer is None:
                    continue
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
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        tell(time.monotonic(), "question-unanswered", resolver=server, type=kind, attempts=self._attempts)
        waited = f"within {self.patience_s:g} s"
        return Lookup(server, "timeout", detail=f"no answer to {self._attempts} queries {waited}")

    async def _exchange(self, server: str, query: dns.message.Message) -> Lookup:
        """One query over UDP, and over TCP if the answer is too long. Raises dns.exception.Timeout."""
        try:
            return read_answer(server, await self._over_udp(server, query))
        except dns.message.Truncated:
            pass
        except ConnectionRefusedError:
            return Lookup(server, "refused", detail="connection refused: nobody listens there")
        except OSError as error:
            return Lookup(server, "unreachable", detail=error.strerror or type(error).__name__)
        except (EOFError, dns.exception.DNSException) as error:
            if isinstance(error, dns.exception.Timeout):
                raise
            words = "a loop of CNAME records" if isinstance(error, dns.message.ChainTooLong) else type(error).__name__
            return Lookup(server, "failed", detail=words)
        try:
            response = await dns.asyncquery.tcp(query, server, self._timeout_s, self._port)
            return read_answer(server, response)
        except (OSError, EOFError, dns.exception.DNSException) as error:
            why = "TCP is silent" if isinstance(error, dns.exception.Timeout) else f"TCP: {type(error).__name__}"
            return Lookup(server, "truncated", detail=f"the answer is truncated, and {why}")

    async def _over_udp(self, server: str, query: dns.message.Message) -> dns.message.Message:
        """The answer to a datagram. Its socket is connected: only then the kernel reports that nobody listens there."""
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        make = dns.asyncbackend.get_default_backend().make_socket
        place = (server, self._port)
        async with await make(family, socket.SOCK_DGRAM, 0, None, place) as connected:  # type: ignore[no-untyped-call]
            return await dns.asyncquery.udp(
                query,
                server,
                self._timeout_s,
                self._port,
                sock=connected,
                ignore_unexpected=True,
                ignore_errors=True,
                raise_on_truncation=True,
            )

    async def refuses(self, server: str, name: str, timeout_s: float) -> bool:
        """Whether one datagram with a question is refused within this time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._over_udp(server, dns.message.make_query(name, dns.rdatatype.A))
        except ConnectionRefusedError:
            return True
        except (OSError, EOFError, dns.exception.DNSException):
            pass  # silence, or what the firewall makes of it
        return False

    async def _why_empty(self, lookup: Lookup, name: str) -> Lookup:
        """Whether a resolver says that it left addresses out."""
        errors = [each for each in await self._extended_errors(lookup.source, name) if each in _STRIPPED]
        if not errors:
            return lookup
        return replace(lookup, outcome="stripped", detail=f"extended error {dns.edns.EDECode.to_text(errors[0])}")

    async def _why_failed(self, lookup: Lookup, name: str) -> str:
        """The error, and what the resolver says of its reason."""
        errors = [dns.edns.EDECode.to_text(each) for each in await self._extended_errors(lookup.source, name)]
        return f"{lookup.detail}, extended error {errors[0]}" if errors else lookup.detail

    async def _extended_errors(self, server: str, name: str) -> Sequence[dns.edns.EDECode]:
        """What a resolver gives as the reasons of its answers about both families: asked with EDNS, as `dig` does."""
        questions = [dns.message.make_query(name, kind, use_edns=0) for kind in _RDTYPES]
        said = await asyncio.gather(*(self._reasons(server, each) for each in questions))
        return [code for each in said for code in each]

    async def _reasons(self, server: str, question: dns.message.Message) -> Sequence[dns.edns.EDECode]:
        try:
            response = await self._over_udp(server, question)
        except (OSError, EOFError, dns.exception.DNSException):
            return ()
        return [option.code for option in response.options if isinstance(option, dns.edns.EDEOption)]


async def first_answer(asked: Sequence["asyncio.Task[Lookup]"], seconds: float | None) -> Lookup | None:
    """The first answer to one of the queries; None if none comes in time, which is that of the queries by default."""
    end = None if seconds is None else time.monotonic() + seconds
    pending = set(asked)
    while pending:
        left = None if end is None else max(0.0, end - time.monotonic())
        done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        for query in done:
            if not isinstance(query.exception(), dns.exception.Timeout):
                return query.result()
        if not done:
            break
    return None


def read_answer(server: str, response: dns.message.Message) -> Lookup:
    """One response as data; CNAMEs are followed within it. Raises DNSException if it is malformed."""
    rcode = response.rcode()
    if rcode == dns.rcode.NXDOMAIN:
        chain = response.resolve_chaining() if isinstance(response, dns.message.QueryMessage) else None
        alias = chain.canonical_name.to_text(omit_final_dot=True) if chain is not None and chain.cnames else ""
        return Lookup(server, "nxdomain", detail=f"an alias of {alias}" if alias else "")
    if rcode == dns.rcode.REFUSED:
        return Lookup(server, "rejected", detail="it answers REFUSED")
    if rcode != dns.rcode.NOERROR or not isinstance(response, dns.message.QueryMessage):
        return Lookup(server, "failed", detail=dns.rcode.to_text(rcode))
    chain = response.resolve_chaining()
    rrset = chain.answer
    if rrset is None:
        alias = chain.canonical_name.to_text(omit_final_dot=True) if chain.cnames else ""
        return Lookup(server, "no-address", detail=f"an alias of {alias}" if alias else "")
    addresses = tuple(dict.fromkeys(record.address for record in rrset if isinstance(record, A | AAAA)))
    return Lookup(server, "answer", addresses) if addresses else Lookup(server, "failed", detail="no usable records")


_BAD: tuple[LookupOutcome, ...] = ("timeout", "refused", "truncated", "rejected", "unreachable", "failed")


def merge(server: str, answers: Sequence[Lookup]) -> Lookup:
    """The A and the AAAA answer of one resolver as one: an address counts most, then a silence, then an error."""
    addresses = tuple(address for answer in answers for address in answer.addresses)
    by_outcome: dict[LookupOutcome, Lookup] = {answer.outcome: answer for answer in answers}
    bad = next((by_outcome[kind] for kind in _BAD if kind in by_outcome), None)
    if addresses:
        return Lookup(server, "answer", addresses, detail=bad.detail if bad else "", unanswered=_unanswered(answers))
    if bad is not None:
        return replace(bad, source=server)
    # A name with records of another type exists: one NXDOMAIN with an empty answer comes from a broken resolver.
    outcome: LookupOutcome = "nxdomain" if all(answer.outcome == "nxdomain" for answer in answers) else "no-address"
    return Lookup(server, outcome, detail=next((each.detail for each in answers if each.detail), ""))


def _unanswered(answers: Sequence[Lookup]) -> str:
    """The type of record that gets no answer, where the other one does."""
    silent = [each.outcome == "timeout" for each in answers]
    return dns.rdatatype.to_text(_RDTYPES[silent.index(True)]) if sum(silent) == 1 and len(silent) > 1 else ""
