"""Nebula: its configuration, its certificate by `nebula-cert`, its host map by the sshd where that is enabled.

The host map is no sign of life: it stays as it is for 20 s and more after a path was cut.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, OverlayPeer, OverlayState
from preflight.overlay.links import outermost, state_of
from preflight.overlay.local import LocalError, exists, parse_json, run, understood

FOLDER = Path("/etc/nebula")
NAMES = ("config.yml", "config.yaml")
DEFAULT_INTERFACE = "nebula1"
OVERHEAD_BYTES = 20 + 8 + 16 + 16  # IPv4, UDP, Nebula's header, the cipher's tag


async def read(links: Iterable[Link]) -> list[OverlayState]:
    """The state of the configured Nebula network; nothing where none is configured."""
    path = next((FOLDER / name for name in NAMES if exists(FOLDER / name)), None)
    if path is None:
        return []
    known = list(links)
    try:
        with understood(str(path)):
            config = _config(path)
            certificate = await _certificate(config)
            peers, silent = await _hostmap(config)
            return [state_from(config, certificate, peers, known, time.time(), silent)]
    except LocalError as error:
        return [_without(known, error)]


def _without(links: Iterable[Link], error: LocalError) -> OverlayState:
    link = next((link for link in links if link.name == DEFAULT_INTERFACE), None)
    unreadable = PRIVILEGE if error.kind == "privilege" else str(error)
    more: dict[str, Any] = {"unreadable": unreadable, "health": (str(error),)}
    if link is not None:
        return state_of(link, "nebula", **more)
    return OverlayState(product="nebula", interface=DEFAULT_INTERFACE, up=False, mtu=None, **more)


def state_from(
    config: Mapping[str, Any],
    certificate: Mapping[str, Any] | None,
    peers: tuple[OverlayPeer, ...],
    links: Iterable[Link],
    now_s: float,
    unreadable: str | None = None,
) -> OverlayState:
    """The common state; now_s (UNIX seconds) tells whether the certificate has expired."""
    name = (config.get("tun") or {}).get("dev") or DEFAULT_INTERFACE
    details = (certificate or {}).get("details") or {}
    networks = [ip_interface(text).network for text in details.get("ips") or details.get("networks") or ()]
    more: dict[str, Any] = {"peers": peers, "overhead_bytes": OVERHEAD_BYTES, "unreadable": unreadable}
    more["health"] = tuple(_silent_lighthouses(config, peers))
    if networks:
        more["prefixes"] = outermost(networks)
    if details and _unix_s(details["notAfter"]) < now_s:
        more |= {"condition": "overlay.key-expired", "health": (f"the certificate expired at {details['notAfter']}",)}
    for link in links:
        if link.name == name:
            return state_of(link, "nebula", **more)
    more.setdefault("condition", "overlay.daemon-down")
    more["health"] = (*more["health"], f"{name} of its configuration does not exist: nebula does not run")
    return OverlayState(**{"product": "nebula", "interface": name, "up": False, "mtu": None, **more})


def parse_hostmap(hosts: Sequence[Mapping[str, Any]], pending: Sequence[Mapping[str, Any]]) -> tuple[OverlayPeer, ...]:
    """`list-hostmap -json` and `list-pending-hostmap -json`; a pending peer has no tunnel yet."""
    known = [_peer(host) for host in hosts]
    keys = {peer.key for peer in known}
    waiting = [_peer(host) for host in pending]
    return (*known, *(peer for peer in waiting if peer.key not in keys))


def _peer(host: Mapping[str, Any]) -> OverlayPeer:
    address = host.get("vpnIp") or host["vpnAddrs"][0]
    remote = host.get("currentRemote")
    relays = host.get("currentRelaysToMe") or []
    return OverlayPeer(
        key=address,
        endpoint=_endpoint(remote) if remote else None,
        addresses=(ip_network(address),),
        relayed=bool(relays) if remote is None else False,
        relay=relays[0] if relays and remote is None else None,
    )


def _endpoint(remote: Mapping[str, Any] | str) -> str:
    if isinstance(remote, str):
        return remote
    address, port = remote["ip"], remote["port"]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _silent_lighthouses(config: Mapping[str, Any], peers: Iterable[OverlayPeer]) -> Iterable[str]:
    lighthouses = (config.get("lighthouse") or {}).get("hosts") or ()
    without = {peer.key for peer in peers if peer.endpoint is None and not peer.relayed}
    return [f"no tunnel to the lighthouse {host}" for host in lighthouses if host in without]


def _config(path: Path) -> Mapping[str, Any]:
    """The configuration, which may hold a private key: nothing of it is ever shown."""
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except PermissionError:
        raise LocalError("privilege", f"{path} may not be read by this user") from None
    except (OSError, ValueError, yaml.YAMLError):
        raise LocalError("garbage", f"{path} is not a readable YAML file") from None
    if not isinstance(config, dict):
        raise LocalError("garbage", f"{path} is not a Nebula configuration")
    return config


async def _certificate(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The node's certificate as `nebula-cert` prints it; None where the tool or the file is not there."""
    path = str((config.get("pki") or {}).get("cert") or "")
    if not path.startswith("/"):  # absent, or inline
        return None
    try:
        status, output = await run("nebula-cert", "print", "-json", "-path", path)
        if status != 0:
            return None
        printed = parse_json(output.strip().splitlines()[0] if output.strip() else "", "`nebula-cert print -json`")
    except LocalError:
        return None
    first = printed[0] if isinstance(printed, list) and printed else printed
    return first if isinstance(first, dict) else None


async def _hostmap(config: Mapping[str, Any]) -> tuple[tuple[OverlayPeer, ...], str | None]:
    """The peers, else why they cannot be listed. Only a sshd on loopback is asked: its host key is not checked.

    Without sshd, as it is installed, Nebula tells nobody about its sessions: no peers, and nothing that went wrong.
    """
    sshd = config.get("sshd") or {}
    host, _, port = str(sshd.get("listen") or "").rpartition(":")
    users = sshd.get("authorized_users") or []
    if not sshd.get("enabled"):
        return (), None
    if not users or not _is_loopback(host):
        return (), "nebula's sshd is not reachable on loopback, so its host map cannot be read"
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    words = [word for option in options for word in ("-o", option)]
    try:
        answers = []
        for command in ("list-hostmap", "list-pending-hostmap"):
            where = ("-p", port, f"{users[0]['user']}@{host.strip('[]')}")
            _, output = await run("ssh", *words, *where, command, "-json")
            answers.append(parse_json(output, f"nebula's {command}"))
        with understood("nebula's sshd"):
            return parse_hostmap(answers[0], answers[1]), None
    except LocalError as error:
        return (), str(error)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _unix_s(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
