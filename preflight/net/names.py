"""Name resolution, resolver by resolver, and what programs on this node really get."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from preflight.files import beginning
from preflight.model.dns import Lookup, NameFiles, Resolution
from preflight.model.event import Listener
from preflight.model.name_fixes import HOSTS_FILE, RESOLVERS_FILE, SWITCH_FILE
from preflight.net.lookup import system_lookup
from preflight.proto.control.naming import candidate_names, host_addresses, host_line, names_a_resolver, signed_by
from preflight.proto.control.url import ControlUrl

if TYPE_CHECKING:
    from preflight.net.dns import Questions

MOST_ADDRESSES = 16
"""Of one name: this node connects to no more of them. A name may have thousands, and each costs a socket."""
RESOLV_CONF = Path(RESOLVERS_FILE)
_LARGEST_FILE = 1 << 20
_SLOWEST_S = 9.0
"""The C library waits for a dead resolver for 5 s before it asks the next one."""
_LATER_S = 0.75
"""How much later than the resolvers the C library may be."""
_KNOWN_S = 15.0
"""For how long an answer to this node's programs is not asked for again."""


class Resolver:
    """Asks every configured resolver separately, to show one that is silent or that answers differently.

    nameservers: addresses to ask; by default those of resolv.conf. port: UDP and TCP port of all of them.
    timeout_s: for one query; attempts: how often it is sent before a resolver counts as silent: each half a time-out
    behind the one before, whose answer still counts.
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
        self._known: dict[str, tuple[float, Lookup]] = {}

    @cached_property
    def _questions(self) -> "Questions":
        """Made when a name server is asked: an address in the control URL needs none."""
        from preflight.net.dns import Questions

        return Questions(self._port, self._timeout_s, self._attempts, self._listener)

    async def resolve(self, name: str) -> Resolution:
        """Ask the system and all resolvers about a name at the same time; every failure is data."""
        from preflight.net.dns import configured

        servers, search, ndots = self._nameservers, self._search, self._ndots
        if servers is None:
            servers, search, ndots = configured(RESOLV_CONF)
        candidates = candidate_names(name, search, ndots)
        began = time.monotonic()
        system = asyncio.ensure_future(system_lookup(name, _SLOWEST_S, self._listener))
        try:
            resolvers = await asyncio.gather(*(self._questions.first_found(each, candidates) for each in servers))
            winner = next((lookup for lookup in resolvers if lookup.outcome == "answer"), None)
            # Where no resolver knows the name, programs will not get it however long they wait.
            patience = _SLOWEST_S if winner else self._questions.patience_s + _LATER_S
            found = await _at_most(system, patience - (time.monotonic() - began), patience)
        finally:
            system.cancel()
        self._remember(name, found)
        further = await self._further(winner, candidates) if winner else ()
        files = replace(own_files(name), completes=bool(search))
        return Resolution(name, found, tuple(resolvers), further, files)

    @property
    def port(self) -> int:
        """The port of all resolvers."""
        return self._port

    async def once(self, resolver: str, name: str, timeout_s: float) -> bool:
        """Ask one resolver about a name in one datagram, and wait a moment; whether it was refused."""
        return await self._questions.refuses(resolver, name, timeout_s)

    async def _further(self, winner: Lookup, candidates: Sequence[str]) -> tuple[Lookup, ...]:
        """What the same resolver says about the names that come behind the one that it answered."""
        later = candidates[candidates.index(f"{winner.asked}.") + 1 :]
        return tuple(await asyncio.gather(*(self._questions.ask(winner.source, name) for name in later)))

    async def addresses(self, url: ControlUrl) -> Sequence[str]:
        """Where programs on this node connect to for a URL: its literal, or the first of the name's addresses."""
        if url.address is not None:
            return (url.host,)
        return (await self.known(url.host)).addresses[:MOST_ADDRESSES]

    def files(self, name: str) -> NameFiles:
        """What this node's own files say about a name."""
        return own_files(name)

    async def known(self, name: str, timeout_s: float = 4.0) -> Lookup:
        """What programs on this node get, or got a few seconds ago: with a dead resolver each look-up takes as long."""
        asked_at, lookup = self._known.get(name, (0.0, None))
        if lookup is not None and time.monotonic() - asked_at < _KNOWN_S:
            return lookup
        return await self.system(name, timeout_s)

    async def system(self, name: str, timeout_s: float = 4.0) -> Lookup:
        """Only what programs on this node get: hosts file, name-service switch, resolvers."""
        lookup = await system_lookup(name, timeout_s, self._listener)
        self._remember(name, lookup)
        return lookup

    def _remember(self, name: str, lookup: Lookup) -> None:
        if lookup.outcome == "answer":
            self._known[name] = (time.monotonic(), lookup)
        else:
            self._known.pop(name, None)


async def _at_most(lookup: "asyncio.Future[Lookup]", seconds: float, patience: float) -> Lookup:
    """The lookup, if it ends in time."""
    await asyncio.wait({lookup}, timeout=max(0.0, seconds))
    return lookup.result() if lookup.done() else Lookup("system", "timeout", detail=f"no answer within {patience:g} s")


def own_files(name: str) -> NameFiles:
    """What this node's own files say about a name."""
    target = RESOLV_CONF.resolve()
    return NameFiles(
        host_line(_text(SWITCH_FILE)),
        host_addresses(_text(HOSTS_FILE), name),
        str(target) if target != RESOLV_CONF else "",
        names_a_resolver(_text(RESOLVERS_FILE)),
        signed_by(_text(RESOLVERS_FILE)),
    )


def _text(path: str) -> str:
    """The text of a file; nothing where it cannot be read."""
    try:
        return beginning(Path(path), _LARGEST_FILE).decode("utf-8", "replace")
    except OSError:
        return ""
