"""Tailscale: the daemon's LocalAPI, else `tailscale status --json`."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from preflight.model import parameters
from preflight.model.complaint import Complaint
from preflight.model.event import Tell, silent
from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, WHOLE_BITS, IPNetwork, OverlayPeer, OverlayState
from preflight.overlay.json_types import count, endpoint_in, table, text, texts
from preflight.overlay.links import outermost, state_of
from preflight.overlay.local import LocalError, ask_http, exists, parse_json, run, understood
from preflight.overlay.tailscale_options import options
from preflight.overlay.tailscale_routes import with_announced
from preflight.overlay.tailscale_words import complaints
from preflight.overlay.wireguard import OVERHEAD_BYTES

SOCKET = Path("/var/run/tailscale/tailscaled.sock")
FWMARK = 0x80000
"""Of the daemon's own packets on Linux, by which its rules lead them past its own table."""
STATE = Path("/var/lib/tailscale/tailscaled.state")
HOST = "local-tailscaled.sock"
INTERFACE = "tailscale0"
MAKERS = ("controlplane.tailscale.com", "login.tailscale.com")
RANGES = (ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48"))
NEVER = "0001-01-01T00:00:00Z"
NOT_ACCEPTED = "overlay.routes-not-accepted"
EXIT_GONE = "overlay.exit-node-gone"
AWAY_S = 86_400.0
"""A machine that was last seen longer ago is switched off, as far as anyone here knows, and no fault."""
SESSION_S = 180.0  # WireGuard sends nothing more with the keys of an older handshake

SOLD_EXIT = "tag:mullvad-exit-node"
"""What only forwards to the Internet. Another kind of peer is not a member either, which may call this node, and not be
called: Tailscale's own ingress of a funnel, and machines of people with whom this node is shared."""

CONDITIONS = {
    "NeedsLogin": "overlay.logged-out",
    "NoState": "overlay.logged-out",
    "NeedsMachineAuth": "overlay.not-authorized",
    "Stopped": "overlay.down",
}


async def read(links: Iterable[Link], tell: Tell = silent) -> list[OverlayState]:
    """The state of this node's tailnet; nothing if Tailscale was never used."""
    if not exists(SOCKET) and not exists(STATE):
        return []
    known = list(links)
    try:
        status = await _status(tell)
        with understood("tailscaled"):
            state = parse_status(status, known, time.time())
            chosen = await _preferences(tell)
            state = with_preferences(state, chosen, leaving=bool(status.get("ExitNodeStatus")))
            return [with_announced(state, status, chosen)]
    except LocalError as error:
        return [state_without(known, error)]


async def _preferences(tell: Tell) -> Mapping[str, Any]:
    """The daemon's preferences; empty where this user may not read them."""
    try:
        return table(await ask("prefs", tell))
    except LocalError:
        return {}


def with_preferences(state: OverlayState, preferences: Mapping[str, Any], *, leaving: bool) -> OverlayState:
    """The state with its tailnet's own control server, and with the complaints that its status does not show.

    leaving: whether the status has the exit node that this node uses.
    """
    networks = announced(state)
    chosen = text(preferences.get("ExitNodeID")) or text(preferences.get("ExitNodeIP"))
    # Of one that the daemon is to choose there may be none for a while.
    if chosen and not chosen.startswith("auto") and not leaving and state.condition is None:
        said = f"this node's exit node {chosen} is not in its tailnet"
        state = replace(state, complaints=(*state.complaints, Complaint(EXIT_GONE, said)))
    if preferences.get("RouteAll") is False and networks and state.condition is None and not told(state):
        said = f"peers announce {', '.join(map(str, networks))}, and --accept-routes is false"
        state = replace(state, complaints=(*state.complaints, Complaint(NOT_ACCEPTED, said)))
    if preferences.get("CorpDNS") is False:
        # Nothing here asks the tailnet's resolver, whose warnings stay for good.
        state = replace(state, complaints=tuple(each for each in state.complaints if not each.names))
    return replace(
        state,
        control_server=_own_server(preferences),
        login_options=options(preferences),
        shielded=preferences.get("ShieldsUp") is True,
    )


def _own_server(preferences: Mapping[str, Any]) -> str | None:
    """The tailnet's own control server; None if it is Tailscale's, or unknown."""
    url = text(preferences.get("ControlURL"))
    try:
        parameters.url(url)
    except ValueError:
        return None
    return None if urlsplit(url).hostname in MAKERS else url


def announced(state: OverlayState) -> tuple[IPNetwork, ...]:
    """The networks behind its peers, without what an exit node offers."""
    every = (network for peer in state.peers for network in peer.addresses)
    return tuple(dict.fromkeys(each for each in every if WHOLE_BITS < each.prefixlen < each.max_prefixlen))


def told(state: OverlayState) -> bool:
    """Whether the daemon itself says that this node does not take them."""
    return any(each.code == NOT_ACCEPTED for each in state.complaints)


async def _status(tell: Tell) -> Any:
    try:
        return await ask("status", tell)
    except LocalError as refusal:
        if refusal.kind in ("timeout", "refused", "absent"):
            raise
        try:
            _, output = await run("tailscale", "status", "--json", tell=tell)
            return parse_json(output, "`tailscale status --json`")
        except LocalError:
            raise refusal from None


async def ask(what: str, tell: Tell) -> Any:
    """One document of the LocalAPI. Raises LocalError."""
    connect = partial(asyncio.open_unix_connection, str(SOCKET))
    return await ask_http(connect, str(SOCKET), HOST, f"/localapi/v0/{what}", tell=tell)


def state_without(links: Iterable[Link], error: LocalError) -> OverlayState:
    """The kernel's part of the state, and why the daemon's part is missing."""
    if error.kind == "privilege":
        return _based(links, (), unreadable=PRIVILEGE)
    dead = error.kind in ("timeout", "refused", "absent")
    condition = "overlay.daemon-down" if dead else None
    return _based(links, (), unreadable=str(error), health=(str(error),), condition=condition)


def parse_status(status: Mapping[str, Any], links: Iterable[Link], now_unix_s: float) -> OverlayState:
    """The common state from a status document. Raises an error that `understood` catches if it is malformed.

    now_unix_s: UNIX seconds; an expiry is compared with it, because some control servers never flag it.
    """
    own, backend = table(status.get("Self")), text(status["BackendState"])
    online = bool(own.get("Online"))
    addresses = [ip_address(address) for address in texts(status.get("TailscaleIPs"))]
    # The state of peers gets stale when this node loses its control server.
    peers = tuple(_peer(table(peer), now_unix_s, current=online) for peer in table(status.get("Peer")).values())
    mine = [network for network in RANGES if any(a.version == network.version and a in network for a in addresses)]
    theirs = [network for peer in peers for network in peer.addresses if network.prefixlen > 1]
    return _based(
        links,
        [str(address) for address in addresses],
        prefixes=outermost([*mine, *theirs]),
        peers=peers,
        overhead_bytes=OVERHEAD_BYTES,
        fwmark=FWMARK,
        version=text(status.get("Version")) or None,
        condition="overlay.key-expired" if _ended(own, status, now_unix_s) else _condition(backend, status),
        health=tuple(_health(status, own, now_unix_s)),
        complaints=complaints(status),
        key_expires_unix_s=_expiry_unix_s(own),
    )


def _lost(addresses: Iterable[str], link: Link) -> tuple[str, ...]:
    on = {str(address.ip) for address in link.addresses}
    return tuple(address for address in addresses if address not in on)


def _condition(backend: str, status: Mapping[str, Any]) -> str | None:
    """What is wrong by the daemon's state; without what it has stored it stays in the one before any login."""
    stateless = any(said.startswith("State store failed") for said in texts(status.get("Health")))
    return "overlay.daemon-down" if stateless else CONDITIONS.get(backend)


def _health(status: Mapping[str, Any], own: Mapping[str, Any], now_unix_s: float) -> Iterator[str]:
    """What is wrong, in the daemon's words; it does not report an expired key or a deleted node."""
    backend = text(status["BackendState"])
    if backend != "Running":
        yield f"its state is {backend}"
    if _expired(own, now_unix_s):
        going_on = "" if _ended(own, status, now_unix_s) else ", and its sessions go on"
        yield f"its key expired at {text(own.get('KeyExpiry')) or 'an unknown time'}{going_on}"
    if status.get("TUN") is False:
        # What it cannot set on a machine without its interface follows from that.
        yield "it runs with userspace networking, so there is no interface for other programs"
    else:
        yield from dict.fromkeys(texts(status.get("Health")))


def _based(links: Iterable[Link], addresses: Iterable[str], **more: Any) -> OverlayState:
    """The interface with one of the addresses, else the one with the usual name."""
    wanted = list(addresses)
    here = {link.name: link for link in links}
    for link in here.values():
        if any(str(interface.ip) in wanted for interface in link.addresses):
            return state_of(link, "tailscale", **more)
    if INTERFACE in here:
        return state_of(here[INTERFACE], "tailscale", **{"lost": _lost(wanted, here[INTERFACE]), **more})
    return OverlayState(**{"product": "tailscale", "interface": INTERFACE, "up": False, "mtu": None, **more})


def _peer(peer: Mapping[str, Any], now_unix_s: float, *, current: bool) -> OverlayPeer:
    direct = endpoint_in(peer["CurAddr"]) if peer.get("CurAddr") else None
    # Later versions also have peers as relays, in addition to the DERP regions.
    relay = text(peer.get("PeerRelay")) or text(peer.get("Relay")) or None
    allowed = texts(peer.get("AllowedIPs")) or texts(peer.get("TailscaleIPs"))
    name = text(peer.get("DNSName")) or text(peer.get("HostName"))
    online = bool(peer["Online"]) if current and peer.get("Online") is not None else None
    in_use = _in_use(peer) and online is not False
    seen_unix_s = _unix_s(peer.get("LastSeen"))
    return OverlayPeer(
        key=text(peer["PublicKey"]),
        endpoint=direct,
        addresses=tuple(_network(address) for address in allowed),
        name=name.split(".")[0],
        last_handshake_unix_s=_unix_s(peer.get("LastHandshake")),
        last_seen_unix_s=seen_unix_s or None,
        rx_bytes=count(peer.get("RxBytes")),
        tx_bytes=count(peer.get("TxBytes")),
        # An idle peer has no current path; that does not mean that it is relayed.
        relayed=(direct is None and relay is not None) if in_use else None,
        relay=relay,
        online=online,
        # A key that was renewed meanwhile would be news from the control server, too.
        expired=_expired(peer, now_unix_s) and not (in_use and _outlived(peer, peer)) if current else None,
        key_expires_unix_s=_expiry_unix_s(peer),
        member=not peer.get("ShareeNode") and SOLD_EXIT not in texts(peer.get("Tags")),
        away=online is False and 0 < seen_unix_s < now_unix_s - AWAY_S,
    )


def _in_use(peer: Mapping[str, Any]) -> bool:
    """Whether the session carries traffic: a peer that does not answer has no fresh handshake."""
    handshake_unix_s = _unix_s(peer.get("LastHandshake"))
    return bool(peer.get("Active")) and 0 < handshake_unix_s > _unix_s(peer.get("LastWrite")) - SESSION_S


def _network(address: str) -> IPNetwork:
    return ip_network(address, strict=False)


def _ended(own: Mapping[str, Any], status: Mapping[str, Any], now_unix_s: float) -> bool:
    """Whether this node's key has expired, and its sessions with it: some control servers let them go on."""
    peers = map(table, table(status.get("Peer")).values())
    going_on = any(_in_use(peer) and _outlived(peer, own) for peer in peers)
    return _expired(own, now_unix_s) and (bool(own.get("Expired")) or not going_on)


def _outlived(peer: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """Whether something was sent to a peer after the expiry of a node's key."""
    return _unix_s(peer.get("LastWrite")) > (_expiry_unix_s(node) or 0.0)


def _expired(node: Mapping[str, Any], now_unix_s: float) -> bool:
    expiry_unix_s = _expiry_unix_s(node)
    return bool(node.get("Expired")) or (expiry_unix_s is not None and expiry_unix_s < now_unix_s)


def _expiry_unix_s(node: Mapping[str, Any]) -> float | None:
    return _unix_s(node.get("KeyExpiry")) or None


def _unix_s(time: Any) -> float:
    """RFC 3339 with up to nanoseconds; Go's zero time, and none, mean never: 0."""
    stamp = text(time)
    if not stamp or stamp == NEVER:
        return 0.0
    return datetime.fromisoformat(stamp).timestamp()
