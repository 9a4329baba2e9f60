"""ZeroTier: the service's HTTP API with its secret, else `zerotier-cli -j`.

What it says of paths lags by minutes (`active`, `preferred` and `online` hardly change), so times are compared instead.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, OverlayPeer, OverlayState
from preflight.overlay.links import outermost, state_of
from preflight.overlay.local import LocalError, ask_http, exists, parse_json, run, understood

HOME = Path("/var/lib/zerotier-one")
DEFAULT_PORT = 9993
# A path in use is heard at least once a minute; a root that stopped answering shows as one that we still send to.
PATH_SILENT_S = 90.0

CONDITIONS = {
    "ACCESS_DENIED": "overlay.not-authorized",
    "AUTHENTICATION_REQUIRED": "overlay.logged-out",
    "PORT_ERROR": "overlay.down",
}
COMPLAINTS = {
    "REQUESTING_CONFIGURATION": "the network's controller does not answer (REQUESTING_CONFIGURATION)",
    "ACCESS_DENIED": "the network's controller has not authorised this node (ACCESS_DENIED)",
    "NOT_FOUND": "no such network at its controller (NOT_FOUND)",
    "AUTHENTICATION_REQUIRED": "the network wants a log-in (AUTHENTICATION_REQUIRED)",
    "PORT_ERROR": "the virtual interface could not be made (PORT_ERROR)",
    "CLIENT_TOO_OLD": "this version of ZeroTier is too old for the network (CLIENT_TOO_OLD)",
}


async def read(links: Iterable[Link]) -> list[OverlayState]:
    """One state for each joined network; nothing where ZeroTier was never used."""
    if not exists(HOME):
        return []
    try:
        info, networks, peers = [await _ask(what) for what in ("info", "listnetworks", "listpeers")]
        with understood("zerotier-one"):
            return parse(info, networks, peers, list(links))
    except LocalError as error:
        return [state_without(links, error)]


async def _ask(what: str) -> Any:
    """One document, by HTTP where the secret may be read, else by the command-line client."""
    path = {"info": "/status", "listnetworks": "/network", "listpeers": "/peer"}[what]
    try:
        secret = (HOME / "authtoken.secret").read_text(encoding="ascii").strip()
        port = int((HOME / "zerotier-one.port").read_text(encoding="ascii"))
    except PermissionError:
        raise LocalError("privilege", f"{HOME}/authtoken.secret may not be read by this user") from None
    except (OSError, ValueError):  # no port file: the service does not run, or keeps its home elsewhere
        return await _ask_tool(what)
    place = f"127.0.0.1:{port}"
    headers = {"X-ZT1-Auth": secret}
    return await ask_http(lambda: asyncio.open_connection("127.0.0.1", port), place, "localhost", path, headers)


async def _ask_tool(what: str) -> Any:
    place = f"`zerotier-cli -j {what}`"
    status, output = await run("zerotier-cli", "-j", what)
    if status in (1, 2):  # no daemon, no port file
        raise LocalError("refused", f"{place}: no service to ask")
    return parse_json(output, place)


def state_without(links: Iterable[Link], error: LocalError) -> OverlayState:
    """The state where the service gave nothing: its interfaces are called zt…"""
    link = next((link for link in links if link.name.startswith("zt")), None)
    more: dict[str, Any] = {
        "unreadable": PRIVILEGE if error.kind == "privilege" else str(error),
        "health": (str(error),),
    }
    if error.kind in ("timeout", "refused", "absent"):
        more["condition"] = "overlay.daemon-down"
    if link is not None:
        return state_of(link, "zerotier", **more)
    return OverlayState(product="zerotier", interface=None, up=False, mtu=None, **more)


def parse(
    info: Mapping[str, Any],
    networks: Sequence[Mapping[str, Any]],
    peers: Sequence[Mapping[str, Any]],
    links: Iterable[Link],
) -> list[OverlayState]:
    """The common states. Raises what `understood` catches where the documents are none."""
    now_ms = float(info["clock"])
    known = tuple(_peer(peer, now_ms) for peer in peers)
    health = _health(info, peers, now_ms)
    here = {link.name: link for link in links}
    return [_network(network, known, health, str(info.get("version")), here) for network in networks]


def _network(
    network: Mapping[str, Any],
    peers: tuple[OverlayPeer, ...],
    health: tuple[str, ...],
    version: str,
    links: Mapping[str, Link],
) -> OverlayState:
    name, status = network["portDeviceName"], network["status"]
    routes = [ip_network(route["target"]) for route in network.get("routes") or () if route.get("via") is None]
    more: dict[str, Any] = {
        "peers": peers,
        "prefixes": outermost(routes),
        "version": version,
        "condition": CONDITIONS.get(status),
        "health": tuple(filter(None, (COMPLAINTS.get(status), *health))),
    }
    if name in links:
        return state_of(links[name], "zerotier", **more)
    return OverlayState(product="zerotier", interface=name, up=False, mtu=network.get("mtu"), **more)


def _peer(peer: Mapping[str, Any], now_ms: float) -> OverlayPeer:
    """A peer by its ZeroTier address: which overlay address is whose only the controller knows."""
    heard = [path for path in peer["paths"] if now_ms - path["lastReceive"] < PATH_SILENT_S * 1000]
    best = max(heard, key=lambda path: float(path["lastReceive"]), default=None)
    return OverlayPeer(
        key=peer["address"],
        name=peer["role"].lower(),
        endpoint=_endpoint(best["address"]) if best else None,
        last_handshake_s=best["lastReceive"] / 1000 if best else None,
        relayed=not peer["paths"] and peer["latency"] == -1,
    )


def _endpoint(path: str) -> str:
    """`10.202.2.1/9993` in the common form."""
    address, _, port = path.rpartition("/")
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _health(info: Mapping[str, Any], peers: Iterable[Mapping[str, Any]], now_ms: float) -> tuple[str, ...]:
    complaints = [] if info.get("online") else ["ZeroTier says that this node is offline"]
    for peer in peers:
        paths = peer["paths"] if peer["role"] == "PLANET" else []
        silent = [now_ms - path["lastReceive"] for path in paths]
        if silent and min(silent) > PATH_SILENT_S * 1000:
            complaints.append(f"the root {peer['address']} has been silent for {min(silent) / 1000:.0f} s")
    return tuple(complaints)
