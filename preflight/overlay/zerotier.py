"""ZeroTier: the service's HTTP API with its secret, else `zerotier-cli -j`.

Its state of paths lags by minutes (`active`, `preferred` and `online` hardly change), so we compare times instead.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from preflight.model.complaint import Complaint
from preflight.model.event import Tell, silent
from preflight.model.host_port import split_host_port
from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, OverlayPeer, OverlayState
from preflight.overlay.json_types import count, endpoint, endpoint_in, number, table, text
from preflight.overlay.links import outermost, read_neighbours, state_of
from preflight.overlay.local import LocalError, ask_http, exists, parse_json, run, understood
from preflight.overlay.zerotier_taken import lost, untaken, withheld

HOME = Path("/var/lib/zerotier-one")
DEFAULT_PORT = 9993
# A path in use receives at least once a minute; for a dead root only the time of sending advances.
PATH_SILENT_S = 90.0
ROOT_SILENT_S, ROOT_MISSED_S = 30.0, 15.0
"""A root answers each keepalive of a path, which comes after 14 s without any packet: so long a silence, and two of
them were missed. What is relayed to a silent member goes to the root too, and no answer is due then."""
ROOTS = ("PLANET", "MOON")
TCP_RELAY = "ZeroTier's TCP relay"
DATAGRAM_BYTES = 20 + 8 + 1432  # over IPv4: what the service puts into one datagram, sent without DF

CONDITIONS = {
    "ACCESS_DENIED": "overlay.not-authorized",
    "AUTHENTICATION_REQUIRED": "overlay.logged-out",
    "PORT_ERROR": "overlay.down",
    "NOT_FOUND": "overlay.not-joined",
    "CLIENT_TOO_OLD": "overlay.not-authorized",
}
COMPLAINTS = {
    "REQUESTING_CONFIGURATION": "the network's controller {controller} does not answer (REQUESTING_CONFIGURATION)",
    "ACCESS_DENIED": "the network's controller {controller} has not authorised this node (ACCESS_DENIED)",
    "NOT_FOUND": "no such network at its controller (NOT_FOUND)",
    "AUTHENTICATION_REQUIRED": "the network requires a log-in (AUTHENTICATION_REQUIRED)",
    "PORT_ERROR": "the virtual interface could not be created (PORT_ERROR)",
    "CLIENT_TOO_OLD": "this version of ZeroTier is too old for the network (CLIENT_TOO_OLD)",
}


async def read(links: Iterable[Link], tell: Tell = silent) -> list[OverlayState]:
    """One state for each joined network; nothing if ZeroTier was never used."""
    if not exists(HOME):
        return []
    try:
        info, networks, peers = [await ask(what, tell) for what in ("info", "listnetworks", "listpeers")]
        neighbours = await read_neighbours()
        with understood("zerotier-one"):
            return parse(info, networks, peers, list(links), neighbours) or [networkless(_joined())]
    except LocalError as error:
        return [state_without(links, error)]


def _joined() -> list[str]:
    """The numbers of the networks that this node has joined, as far as this user may read them."""
    try:
        return sorted(path.stem for path in (HOME / "networks.d").glob("*.conf") if path.stem.isalnum())
    except OSError:
        return []


def networkless(joined: Sequence[str]) -> OverlayState:
    """A service that lists no network: none was joined, or the service could not make its virtual interface."""
    said, condition = "it runs, and has joined no network", "overlay.not-joined"
    if joined:
        said = f"it joined the network {joined[0]}, and could not make its virtual interface (/dev/net/tun)"
        condition = "overlay.down"
    return OverlayState(
        product="zerotier",
        interface=None,
        up=False,
        mtu=None,
        condition=condition,
        health=(said,),
        network=joined[0] if joined else None,
    )


async def ask(what: str, tell: Tell) -> Any:
    """One document, by HTTP if the secret is readable, else by the command-line client."""
    path = {"info": "/status", "listnetworks": "/network", "listpeers": "/peer"}[what]
    try:
        secret = (HOME / "authtoken.secret").read_text(encoding="ascii").strip()
        place = endpoint("127.0.0.1", (HOME / "zerotier-one.port").read_text(encoding="ascii").strip())
    except PermissionError:
        raise LocalError("privilege", f"{HOME}/authtoken.secret may not be read by this user") from None
    except (OSError, ValueError, TypeError):  # no port file: the service is not running, or has another home directory
        return await _ask_tool(what, tell)
    address, port = split_host_port(place)
    headers = {"X-ZT1-Auth": secret}
    connect = partial(asyncio.open_connection, address, port)
    return await ask_http(connect, place, "localhost", path, headers, tell)


async def _ask_tool(what: str, tell: Tell) -> Any:
    place = f"`zerotier-cli -j {what}`"
    status, output = await run("zerotier-cli", "-j", what, tell=tell)
    if status in (1, 2):  # no daemon, no port file
        raise LocalError("refused", f"{place}: no service to ask")
    return parse_json(output, place)


def state_without(links: Iterable[Link], error: LocalError) -> OverlayState:
    """The state if the service gives nothing: its interfaces are called zt…"""
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
    neighbours: Mapping[int, Mapping[str, str]] | None = None,
) -> list[OverlayState]:
    """The common states. Raises an error that `understood` catches if the documents are malformed.

    neighbours: the kernel's table by interface index, which contains the peers' overlay addresses.
    """
    now_ms = number(info["clock"])
    paths = {text(peer["address"]): _paths(peer, now_ms) for peer in peers}
    forced = _settings(info).get("forceTcpRelay") is True
    rooted = any(peer["role"] in ROOTS and _heard(paths[peer["address"]]) for peer in peers)
    known = tuple(_peer(peer, paths[peer["address"]], now_ms, rooted=rooted, forced=forced) for peer in peers)
    said = tuple(complaints(info, peers, paths))
    here = {link.name: link for link in links}
    states = []
    for network in networks:
        link = here.get(text(network["portDeviceName"]))
        met = (neighbours or {}).get(link.index, {}) if link else {}
        members = _with_addresses(known, text(network.get("nwid") or network.get("id")), met)
        states.append(_network(network, members, said, text(info.get("version")), link))
    return states


def member(mac: str, network: str) -> str | None:
    """The ZeroTier address inside a hardware address; None if ZeroTier did not assign it.

    Its first byte comes from the network's number, the others are the address, mixed with bytes of that number.
    """
    given, number_of = bytes.fromhex(mac.replace(":", "")), bytes.fromhex(network)
    first = (number_of[7] & 0xFE) | 0x02
    if len(given) != 6 or given[0] != (0x32 if first == 0x52 else first):
        return None
    return bytes(given[place] ^ number_of[7 - place] for place in range(1, 6)).hex()


def _with_addresses(peers: tuple[OverlayPeer, ...], network: str, met: Mapping[str, str]) -> tuple[OverlayPeer, ...]:
    """The peers with their known overlay addresses."""
    owned: dict[str, list[str]] = {}
    for address, mac in met.items():
        owned.setdefault(member(mac, network) or "", []).append(address)
    return tuple(replace(peer, addresses=tuple(map(ip_network, owned.get(peer.key, ())))) for peer in peers)


def _network(
    network: Mapping[str, Any],
    peers: tuple[OverlayPeer, ...],
    complaints: tuple[Complaint, ...],
    version: str,
    link: Link | None,
) -> OverlayState:
    name, status = text(network["portDeviceName"]), text(network["status"])
    number_of = text(network.get("nwid") or network.get("id"))
    routes = [ip_network(text(route["target"])) for route in network.get("routes") or () if route.get("via") is None]
    # A network's number begins with the ZeroTier address of its controller.
    said = COMPLAINTS.get(status, f"the network's status is {status}").format(controller=number_of[:10])
    condition = CONDITIONS.get(status)
    refused = [Complaint("overlay.offline", said)] if status != "OK" and condition is None else []
    # One finding: both are about what this node reaches of its servers.
    offline = [each.said for each in (*refused, *complaints)]
    cut = any(each.cuts for each in complaints)
    kept, option = withheld(network)
    left = untaken(network)
    behind = [target for target, _ in left if target.prefixlen]
    more: dict[str, Any] = {
        "peers": peers,
        "prefixes": outermost(dict.fromkeys([*routes, *behind])),
        "version": version or None,
        "condition": condition,
        "health": (said,) if status != "OK" else (),
        "complaints": (Complaint("overlay.offline", "; ".join(offline), cuts=cut),) if offline else (),
        "datagram_bytes": DATAGRAM_BYTES,
        "lists_members": False,
        "network": number_of,
        "withheld": kept,
        "withheld_by": option or "allowManaged",
        "untaken": left,
        "lost": lost(network, link) if link is not None and condition is None else (),
    }
    if link is not None:
        return state_of(link, "zerotier", **more)
    return OverlayState(product="zerotier", interface=name, up=False, mtu=count(network.get("mtu")), **more)


@dataclass(frozen=True, slots=True)
class _Path:
    """A path to a peer; the daemon's own `active`, `expired` and `preferred` hardly ever change."""

    endpoint: str
    silent_ms: float
    unsent_ms: float
    never_heard: bool
    trusted: int = 0


def _paths(peer: Mapping[str, Any], now_ms: float) -> tuple[_Path, ...]:
    def path(entry: Mapping[str, Any]) -> _Path:
        heard_ms, sent_ms = (number(entry[when]) for when in ("lastReceive", "lastSend"))
        place, trusted = endpoint_in(entry["address"], "/"), count(entry.get("trustedPathId")) or 0
        return _Path(place, now_ms - heard_ms, now_ms - sent_ms, heard_ms == 0, trusted)

    return tuple(map(path, peer["paths"]))


def _heard(paths: Iterable[_Path]) -> _Path | None:
    """The path with the latest incoming packet, if that is recent."""
    lately = [path for path in paths if path.silent_ms < PATH_SILENT_S * 1000]
    return min(lately, key=lambda path: path.silent_ms, default=None)


def _peer(
    peer: Mapping[str, Any], paths: tuple[_Path, ...], now_ms: float, *, rooted: bool, forced: bool
) -> OverlayPeer:
    """A peer by its ZeroTier address: the service does not report overlay addresses of peers.

    rooted: a root answers; without one nothing can be relayed. forced: this node sends everything by TCP.
    """
    best = _heard(paths)
    pathless = not paths and number(peer["latency"]) == -1 and rooted and peer["role"] not in ROOTS
    by_tcp = best is not None and _by_tcp(peer, best, forced=forced)
    return OverlayPeer(
        key=text(peer["address"]),
        name=text(peer["role"]).lower(),
        endpoint=best.endpoint if best else None,
        last_seen_unix_s=max((now_ms - path.silent_ms for path in paths), default=0.0) / 1000 or None,
        last_sent_unix_s=max((now_ms - path.unsent_ms for path in paths), default=0.0) / 1000 or None,
        relayed=pathless or by_tcp,
        relay=TCP_RELAY if by_tcp else None,
        tried=tuple(path.endpoint for path in paths if path.never_heard),
        places=_places(paths),
        trusted=best.trusted if best else 0,
    )


def _places(paths: Iterable[_Path]) -> tuple[str, ...]:
    """Where it was heard recently, if that is on several hosts of one family: it has two uplinks, or a copy."""
    recent = {
        split_host_port(path.endpoint)[0]: path.endpoint for path in paths if path.silent_ms < PATH_SILENT_S * 1000
    }
    families = ([end for host, end in recent.items() if (":" in host) is v6] for v6 in (False, True))
    return next((tuple(each) for each in families if len(each) > 1), ())


def _by_tcp(peer: Mapping[str, Any], path: _Path, *, forced: bool) -> bool:
    """Whether its packets go through ZeroTier's TCP relay, which carries those of public IPv4 addresses; of its own
    accord the service takes it after a minute without any UDP from one.
    """
    address = ip_address(split_host_port(path.endpoint)[0].partition("%")[0])
    return peer.get("tunneled") is True and address.version == 4 and (forced or address.is_global)


def _settings(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The service's own settings, with what its local.conf says."""
    return table(table(info.get("config")).get("settings"))


def complaints(
    info: Mapping[str, Any], peers: Sequence[Mapping[str, Any]], paths: Mapping[str, tuple[_Path, ...]]
) -> Iterator[Complaint]:
    """What is wrong with this node's way to the roots, without which it finds no peer again once a path is lost."""
    offline = not info.get("online")
    why = ["ZeroTier says that this node is offline"] if offline else []
    why += _silent_roots(peers, paths)
    unheard = not any(map(_heard, paths.values()))
    if why and unheard:
        # The service itself says that it is offline only after minutes.
        through = ": its own UDP does not get through" if offline else ""
        why.append(f"nothing has come back from anyone{through}")
    if why:
        yield Complaint("overlay.offline", "; ".join(why), cuts=offline or unheard)


def _silent_roots(peers: Sequence[Mapping[str, Any]], paths: Mapping[str, tuple[_Path, ...]]) -> Iterator[str]:
    """Those of ZeroTier replace one another: they count where all are silent. A moon is this node's own choice."""
    relaying = any(peer["role"] not in ROOTS and not paths[peer["address"]] for peer in peers)
    roots = [peer for peer in peers if peer["role"] in ROOTS]
    said = {peer["address"]: _silence(peer["address"], paths[peer["address"]], relaying=relaying) for peer in roots}
    spared = any(peer["role"] == "PLANET" and said[peer["address"]] is None for peer in roots)
    for peer in roots:
        if (words := said[peer["address"]]) is not None and not (spared and peer["role"] == "PLANET"):
            yield words


def _silence(root: str, ways: tuple[_Path, ...], *, relaying: bool) -> str | None:
    """What shows that a root does not answer; None if it does."""
    if not ways:
        return f"there is no path to the root {root}"
    silent_s = min(path.silent_ms for path in ways) / 1000
    unsent_s = min(path.unsent_ms for path in ways) / 1000
    if all(path.never_heard for path in ways):
        where = " and ".join(path.endpoint for path in ways)
        return f"the root {root} at {where} has never answered, and was last sent to {unsent_s:.0f} s ago"
    missed = not relaying and silent_s >= ROOT_SILENT_S and silent_s - unsent_s >= ROOT_MISSED_S
    if missed or not _heard(ways):
        return f"the root {root} has been silent for {silent_s:.0f} s, and was last sent to {unsent_s:.0f} s ago"
    return None
