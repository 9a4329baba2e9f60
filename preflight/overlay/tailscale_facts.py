"""More facts from Tailscale's daemon: relays, its part in name resolution, the bytes by each kind of path.

It asks only for known facts: nothing here makes the daemon send a packet, as `tailscale netcheck` would.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from preflight.model.event import Tell, silent
from preflight.model.overlay import Fact
from preflight.overlay.json_types import table, text, texts
from preflight.overlay.local import LocalError, ask_http_text, parse_json, understood
from preflight.overlay.tailscale import HOST, SOCKET

MAXIMUM_FACTS = 8
_COUNTER = re.compile(r'^tailscaled_(in|out)bound_bytes_total\{path="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE)
_COMPLAINTS = re.compile(r'^tailscaled_health_messages\{type="warning"\} ([0-9.e+]+)$', re.MULTILINE)


async def read_facts(tell: Tell = silent) -> dict[str, Fact]:
    """All facts at once; what an older daemon does not say, or not to this user, is left out."""
    wanted = ("status", "derpmap", "dns-osconfig", "usermetrics")
    answers = await asyncio.gather(*(_ask(what, tell) for what in wanted))
    status, relays, resolver = (_document(answer) for answer in answers[:3])
    readers = (
        lambda: magic_dns(status),
        lambda: dns_facts(resolver) if resolver else {},
        lambda: relay_names(relays, status),
        lambda: counted(answers[3]),
    )
    return {name: fact for reader in readers for name, fact in _understood(reader).items()}


def _document(answer: str) -> Mapping[str, Any]:
    return _understood(lambda: table(parse_json(answer, "tailscaled")))


def _understood(read: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        with understood("tailscaled"):
            return read()
    except LocalError:
        return {}


async def _ask(what: str, tell: Tell) -> str:
    path = f"/localapi/v0/{what}"
    try:
        connect = partial(asyncio.open_unix_connection, str(SOCKET))
        body = await ask_http_text(connect, str(SOCKET), HOST, path, tell=tell)
    except LocalError:
        return ""
    return body.decode("utf-8", "replace")


def magic_dns(status: Mapping[str, Any]) -> dict[str, Fact]:
    """Whether the tailnet gives its members names."""
    tailnet = table(status.get("CurrentTailnet"))
    return {"magic_dns": bool(tailnet["MagicDNSEnabled"])} if "MagicDNSEnabled" in tailnet else {}


def dns_facts(config: Mapping[str, Any]) -> dict[str, Fact]:
    """Its set-up of this node's resolver: servers, and the number of domains, without their names."""
    servers = texts(config.get("Nameservers"))[:MAXIMUM_FACTS]
    return {"dns_servers": servers, "dns_domains": len(texts(config.get("MatchDomains")))}


def relay_names(relays: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Fact]:
    """The relay regions of this node and its peers, with their operator's names."""
    nodes = [table(status.get("Self")), *map(table, table(status.get("Peer")).values())]
    used = {text(node.get("Relay")) for node in nodes}
    regions = map(table, table(relays.get("Regions")).values())
    named = {text(region["RegionCode"]): text(region.get("RegionName")) for region in regions}
    known = tuple(f"{code} ({named[code]})" for code in sorted(used & named.keys()))
    return {"relays": known[:MAXIMUM_FACTS]} if known else {}


def counted(metrics: str) -> dict[str, Fact]:
    """Bytes by kind of path, from the daemon's Prometheus text: if only `derp` grows, UDP does not get through."""
    found = {f"{way}bound_{path}_bytes": value for way, path, value in _COUNTER.findall(metrics)[:MAXIMUM_FACTS]}
    if complaints := _COMPLAINTS.search(metrics):
        found["warnings"] = complaints[1]
    return {name: int(float(value)) for name, value in found.items() if _finite(value)}


def _finite(value: str) -> bool:
    try:
        return abs(float(value)) < 2**63
    except ValueError:
        return False
