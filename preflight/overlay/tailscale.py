"""Tailscale: the daemon's LocalAPI, else `tailscale status --json`."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, IPNetwork, OverlayPeer, OverlayState
from preflight.overlay.links import outermost, state_of
from preflight.overlay.local import LocalError, ask_http, exists, parse_json, run, understood
from preflight.overlay.wireguard import OVERHEAD_BYTES

SOCKET = Path("/var/run/tailscale/tailscaled.sock")
STATE = Path("/var/lib/tailscale/tailscaled.state")
INTERFACE = "tailscale0"
RANGES = (ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48"))
NEVER = "0001-01-01T00:00:00Z"

CONDITIONS = {
    "NeedsLogin": "overlay.logged-out",
    "NoState": "overlay.logged-out",
    "NeedsMachineAuth": "overlay.not-authorized",
    "Stopped": "overlay.down",
}


async def read(links: Iterable[Link]) -> list[OverlayState]:
    """The state of this node's tailnet; nothing where Tailscale was never used."""
    if not exists(SOCKET) and not exists(STATE):
        return []
    known = list(links)
    try:
        status = await _status()
        with understood("tailscaled"):
            return [parse_status(status, known, time.time())]
    except LocalError as error:
        return [state_without(known, error)]


async def _status() -> Any:
    try:
        return await ask_http(
            lambda: asyncio.open_unix_connection(str(SOCKET)),
            str(SOCKET),
            "local-tailscaled.sock",
            "/localapi/v0/status",
        )
    except LocalError as refusal:
        if refusal.kind in ("timeout", "refused", "absent"):
            raise
        try:
            _, output = await run("tailscale", "status", "--json")
            return parse_json(output, "`tailscale status --json`")
        except LocalError:
            raise refusal from None


def state_without(links: Iterable[Link], error: LocalError) -> OverlayState:
    """The kernel's part of the state, and why the daemon gave nothing."""
    if error.kind == "privilege":
        return _based(links, (), unreadable=PRIVILEGE)
    dead = error.kind in ("timeout", "refused", "absent")
    condition = "overlay.daemon-down" if dead else None
    return _based(links, (), unreadable=str(error), health=(str(error),), condition=condition)


def parse_status(status: Mapping[str, Any], links: Iterable[Link], now_s: float) -> OverlayState:
    """The common state from a status document. Raises what `understood` catches where it is none.

    now_s: UNIX seconds; an expiry is compared with it, because some control servers never flag it.
    """
    own = status.get("Self") or {}
    online = bool(own.get("Online"))
    addresses = [ip_address(text) for text in status.get("TailscaleIPs") or ()]
    # What is said of peers goes stale once this node has lost its control server.
    peers = tuple(_peer(peer, now_s, current=online) for peer in (status.get("Peer") or {}).values())
    health = tuple(status.get("Health") or ())
    if status["BackendState"] == "Running" and not online:
        health = (*health, "the control server does not hear this node, or has deleted it")
    if status.get("TUN") is False:
        health = (*health, "it runs with userspace networking, so there is no interface for other programs")
    mine = [network for network in RANGES if any(a.version == network.version and a in network for a in addresses)]
    theirs = [network for peer in peers for network in peer.addresses if network.prefixlen > 1]
    return _based(
        links,
        [str(address) for address in addresses],
        prefixes=outermost([*mine, *theirs]),
        peers=peers,
        overhead_bytes=OVERHEAD_BYTES,
        version=status.get("Version"),
        condition=_condition(status["BackendState"], own, now_s),
        health=health,
    )


def _condition(backend: str, own: Mapping[str, Any], now_s: float) -> str | None:
    if _expired(own, now_s):
        return "overlay.key-expired"
    return CONDITIONS.get(backend)


def _based(links: Iterable[Link], addresses: Iterable[str], **more: Any) -> OverlayState:
    """On the interface that holds one of the addresses, else on the one of the usual name."""
    wanted = list(addresses)
    here = {link.name: link for link in links}
    for link in here.values():
        if any(str(interface.ip) in wanted for interface in link.addresses):
            return state_of(link, "tailscale", **more)
    if INTERFACE in here:
        return state_of(here[INTERFACE], "tailscale", **more)
    return OverlayState(**{"product": "tailscale", "interface": INTERFACE, "up": False, "mtu": None, **more})


def _peer(peer: Mapping[str, Any], now_s: float, *, current: bool) -> OverlayPeer:
    direct = peer.get("CurAddr") or None
    relay = peer.get("Relay") or None
    allowed = peer.get("AllowedIPs") or peer.get("TailscaleIPs") or ()
    return OverlayPeer(
        key=peer["PublicKey"],
        endpoint=direct,
        addresses=tuple(_network(text) for text in allowed),
        name=(peer.get("DNSName") or peer.get("HostName") or "").split(".")[0],
        last_handshake_s=_unix_s(peer.get("LastHandshake") or NEVER),
        rx_bytes=peer.get("RxBytes"),
        tx_bytes=peer.get("TxBytes"),
        # An idle peer has no current path at all, which is not the same as a relayed one.
        relayed=(direct is None and relay is not None) if peer.get("Active") else None,
        relay=relay,
        online=peer.get("Online") if current else None,
        expired=_expired(peer, now_s),
    )


def _network(text: str) -> IPNetwork:
    return ip_network(text, strict=False)


def _expired(node: Mapping[str, Any], now_s: float) -> bool:
    if node.get("Expired"):
        return True
    expiry = _unix_s(node.get("KeyExpiry") or NEVER)
    return 0 < expiry < now_s


def _unix_s(text: str) -> float:
    """RFC 3339 with up to nanoseconds; Go's zero time means never, 0."""
    if text == NEVER:
        return 0.0
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    digits = "".join(c for c in fraction if c.isdigit())[:6]
    return datetime.fromisoformat(f"{seconds}{'.' + digits.ljust(6, '0') if digits else ''}+00:00").timestamp()
