"""Nebula: its configuration, its certificate by `nebula-cert`, its host map from its sshd if enabled.

The host map does not show that a path works: it stays unchanged for 20 s and more after a path was cut.
"""

import asyncio
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from preflight.model.complaint import Complaint
from preflight.model.event import Tell, silent
from preflight.model.host_port import join_host_port, split_host_port
from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, OverlayPeer, OverlayState
from preflight.overlay.daemons import arguments, last_lines, processes
from preflight.overlay.json_types import count, endpoint, endpoint_in, table, text, texts
from preflight.overlay.links import outermost, state_of
from preflight.overlay.local import LocalError, exists, parse_json, run, understood
from preflight.overlay.nebula_files import printed, taken
from preflight.overlay.nebula_log import own_cipher, peers_in, with_reasons
from preflight.overlay.nebula_policy import out_policy
from preflight.overlay.nebula_turns import with_turns
from preflight.overlay.nebula_ways import asks_none, behind, lost, routed

FOLDER = Path("/etc/nebula")
NAMES = ("config.yml", "config.yaml")
SUFFIXES = (".yml", ".yaml")
DEFAULT_INTERFACE = "nebula1"
AUTHORITY_ENDED = "the certificate of the authority that signed this node's expired at"
FOREIGN = "no authority in this node's pki.ca signed the certificate"
TESTED = "`nebula -test` refuses its configuration"
_LOGGED = re.compile(r'\b(level|msg|error)=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
SSH_FAILED = 255  # ssh's own exit status; any other is from the command
OVERHEAD_BYTES = 20 + 8 + 16 + 16  # IPv4, UDP, Nebula's header, the cipher's tag


async def read(links: Iterable[Link], tell: Tell = silent) -> list[OverlayState]:
    """The state of the configured Nebula network; nothing where none is configured."""
    path = _file()
    if path is None:
        return []
    known = list(links)
    try:
        with understood(str(path)):
            config = _config(path)
            own, authorities = await asyncio.gather(printed(config, "cert", tell), printed(config, "ca", tell))
            peers, silent = await _hostmap(config, tell)
            log, now_s = await _log(path, tell), time.time()
            logged = with_turns(peers_in(log), log, now_s)
            peers = with_turns(with_reasons(peers, logged), log, now_s) if peers is not None else None
            state = state_from(config, own[0] if own else None, peers, known, now_s, silent, authorities, logged)
            if state.condition == "overlay.daemon-down":
                why = await _refusal(path, tell) or taken(config)
                state = replace(state, health=(*state.health, why)) if why else state
            return [replace(state, policy=out_policy(config, str(path)))]
    except LocalError as error:
        return [_without(known, error)]


async def _log(path: Path, tell: Tell) -> tuple[str, ...]:
    """The log of the process that has this configuration, or of the only one; empty where neither is known."""
    running = list(processes("nebula"))
    named = [process for process in running if str(path) in _arguments(process)]
    found = named or running
    return await last_lines(found[0], tell=tell) if len(found) == 1 else ()


def _arguments(process: Path) -> list[str]:
    try:
        return arguments(process)
    except OSError:
        return []


def _file() -> Path | None:
    """The configuration under the usual name, else the only one of the folder: units of systemd name it by network."""
    usual = next((FOLDER / name for name in NAMES if exists(FOLDER / name)), None)
    if usual is not None:
        return usual
    try:
        others = [each for each in FOLDER.iterdir() if each.suffix in SUFFIXES]
    except OSError:
        return None
    return others[0] if len(others) == 1 else None


def configuration() -> tuple[Mapping[str, Any], str]:
    """The configuration, which may contain a private key, and its file. Raises LocalError."""
    path = _file()
    if path is None:
        raise LocalError("absent", f"there is no configuration in {FOLDER}")
    return _config(path), str(path)


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
    peers: tuple[OverlayPeer, ...] | None,
    links: Iterable[Link],
    now_unix_s: float,
    unreadable: str | None = None,
    authorities: Sequence[Mapping[str, Any]] = (),
    logged: tuple[OverlayPeer, ...] = (),
) -> OverlayState:
    """The common state; now_unix_s (UNIX seconds) decides whether the certificate has expired.

    peers: None if the host map was not read. authorities: the certificates that this node trusts, if known. logged: the
    members of which its log says something.
    """
    name = text(table(config.get("tun")).get("dev")) or DEFAULT_INTERFACE
    if table(config.get("tun")).get("disabled") is True:
        return _without_interface(name, peers, unreadable)
    details = table(table(certificate).get("details"))
    networks = [ip_interface(own).network for own in texts(details.get("ips")) or texts(details.get("networks"))]
    expires_unix_s = _unix_s(text(details["notAfter"])) if details else None
    known = peers if peers is not None else _logged_only(config, logged, unreadable)
    more: dict[str, Any] = {"peers": known, "overhead_bytes": OVERHEAD_BYTES, "unreadable": unreadable}
    more |= {"lists_sessions": peers is not None, "called": tuple(_called(config)), "listen_port": _port(config)}
    more |= {"asks_none": asks_none(config), "routed": routed(config)}
    more |= {"key_expires_unix_s": expires_unix_s, "complaints": _complaints(config, peers, logged)}
    if networks:
        more["prefixes"] = outermost([*networks, *(network for network, _ in more["routed"])])
    if details and _foreign(details, authorities):
        more |= {"condition": "overlay.not-authorized", "health": (FOREIGN,)}
    if (invalid := _invalid(details, authorities, now_unix_s)) is not None:
        more |= {"condition": "overlay.key-expired", "health": (invalid, *more.get("health", ()))}
    for link in links:
        if link.name == name:
            return state_of(link, "nebula", lost=lost(details, link), **more)
    more.setdefault("condition", "overlay.daemon-down")
    more["health"] = (*more.get("health", ()), f"{name} from its configuration does not exist: nebula is not running")
    return OverlayState(**{"product": "nebula", "interface": name, "up": False, "mtu": None, **more})


def _logged_only(
    config: Mapping[str, Any], logged: tuple[OverlayPeer, ...], unreadable: str | None
) -> tuple[OverlayPeer, ...]:
    """What is known where there is no host map; of one that may not be read only that is said.

    A log has members that are long gone, so that only those of the configuration are targets by themselves.
    """
    fixed = {str(own) for own in table(config.get("static_host_map"))}
    known = (replace(each, member=each.key in fixed and each.endpoint is not None) for each in logged)
    return tuple(known) if unreadable is None else ()


def _without_interface(name: str, peers: tuple[OverlayPeer, ...] | None, unreadable: str | None) -> OverlayState:
    """A member whose programs send nothing through it, such as a host that is only a lighthouse."""
    return OverlayState(
        product="nebula",
        interface=name,
        up=False,
        mtu=None,
        peers=peers or (),
        unreadable=unreadable,
        condition="overlay.down",
        health=("tun.disabled is set in its configuration, so there is no interface for other programs",),
    )


def _invalid(details: Mapping[str, Any], authorities: Sequence[Mapping[str, Any]], now_unix_s: float) -> str | None:
    """Why no peer accepts the certificate now, by the times in it and in that of its authority."""
    issuer = text(details.get("issuer"))
    signers = [each for each in authorities if issuer and text(each.get("fingerprint")) == issuer]
    for each in signers:
        ended = text(table(each.get("details")).get("notAfter"))
        if ended and _unix_s(ended) < now_unix_s:
            return f"{AUTHORITY_ENDED} {ended}"
    if details and _unix_s(text(details["notAfter"])) < now_unix_s:
        return f"the certificate expired at {details['notAfter']}"
    begins = text(details.get("notBefore"))
    if begins and _unix_s(begins) > now_unix_s:
        return f"the certificate is valid from {begins} on, and this node's clock says {_utc(now_unix_s)}"
    return None


def _called(config: Mapping[str, Any]) -> Iterator[OverlayPeer]:
    """The members for which `static_host_map` names one place, by address; a name may lead to several."""
    for own, places in table(config.get("static_host_map")).items():
        try:
            (place,) = texts(places)
            host, port = split_host_port(place)
            yield OverlayPeer(str(own), endpoint(str(ip_address(host)), port), (ip_network(str(own)),))
        except ValueError:
            continue


def _port(config: Mapping[str, Any]) -> int | None:
    """Its UDP port, unless it takes any."""
    return count(table(config.get("listen")).get("port")) or None


def _foreign(details: Mapping[str, Any], authorities: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the certificate's issuer is not one of the node's authorities; nebula starts anyway."""
    known = {text(authority.get("fingerprint")) for authority in authorities}
    issuer = text(details.get("issuer"))
    return bool(issuer) and bool(known) and "" not in known and issuer not in known


def parse_hostmap(hosts: Sequence[Mapping[str, Any]], pending: Sequence[Mapping[str, Any]]) -> tuple[OverlayPeer, ...]:
    """`list-hostmap -json` and `list-pending-hostmap -json`; a pending peer has no tunnel yet."""
    known = [_peer(host) for host in hosts]
    keys = {peer.key for peer in known}
    waiting = [replace(_peer(host), last_handshake_unix_s=0.0, tried=_tried(host)) for host in pending]
    return (*known, *(peer for peer in waiting if peer.key not in keys))


def _peer(host: Mapping[str, Any]) -> OverlayPeer:
    own = (text(host.get("vpnIp")),) if host.get("vpnIp") else texts(host["vpnAddrs"])
    remote = host.get("currentRemote")
    relays, networks = texts(host.get("currentRelaysToMe")), behind(host)
    return OverlayPeer(
        key=own[0],
        endpoint=_endpoint(remote) if remote else None,
        addresses=(*map(ip_network, own), *(networks or ())),
        behind=networks,
        relayed=bool(relays) if not remote else False,
        relay=relays[0] if relays and not remote else None,
        session=count(host.get("localIndex")),
    )


def _tried(host: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(map(_endpoint, host.get("remoteAddrs") or ()))


def _endpoint(remote: Mapping[str, Any] | str) -> str:
    return endpoint_in(remote) if isinstance(remote, str) else endpoint(remote["ip"], remote["port"])


def _complaints(
    config: Mapping[str, Any], peers: Iterable[OverlayPeer] | None, logged: Sequence[OverlayPeer]
) -> tuple[Complaint, ...]:
    """What this node itself lacks; a lighthouse whose answer it cannot read is not to blame."""
    own = own_cipher(config, logged)
    return tuple(_silent_lighthouses(config, peers, logged)) if own is None else (own,)


def _silent_lighthouses(
    config: Mapping[str, Any], peers: Iterable[OverlayPeer] | None, logged: Iterable[OverlayPeer] = ()
) -> Iterable[Complaint]:
    """A lighthouse without a tunnel is pending or, between two attempts, in no list at all.

    Its log need not reach back to the handshake with one, so that it shows only those that were tried since.
    """
    settings = table(config.get("lighthouse"))
    # A lighthouse asks no other one, so it has no tunnel to it until it has traffic.
    if settings.get("am_lighthouse") is True:
        return []
    found = logged if peers is None else peers
    owned = {str(network.network_address): peer for peer in found for network in peer.addresses}
    met = {host: owned.get(host) for host in texts(settings.get("hosts")) if peers is not None or host in owned}
    silent = {host: peer for host, peer in met.items() if peer is None or not (peer.endpoint or peer.relayed)}
    return [Complaint("overlay.offline", _untold(host, peer), cuts=True) for host, peer in silent.items()]


def _untold(host: str, peer: OverlayPeer | None) -> str:
    """The lighthouse that does not answer, and where it is called."""
    said = f"there is no tunnel to the lighthouse {host}"
    if peer is None or not peer.tried:
        return said
    if peer.refused:
        return f"{said}: this node does not accept what answers at {' and '.join(peer.tried)}: {peer.refused}"
    return f"{said}: the handshakes that nebula sends to {' and '.join(peer.tried)} do not complete"


def _config(path: Path) -> Mapping[str, Any]:
    """The configuration, which may contain a private key: it is never shown."""
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


async def _refusal(path: Path, tell: Tell) -> str | None:
    """Why nebula would not start with this configuration, by its own test of it; None where it would."""
    try:
        status, output = await run("nebula", "-test", "-config", str(path), tell=tell)
    except LocalError:
        return None
    with suppress(LocalError):
        return refusal(output) if status != 0 else None
    return None


def refusal(output: str) -> str | None:
    """The error in the log of `nebula -test`, whose other lines repeat the configuration with its keys."""
    for line in output.splitlines():
        said = _logged(line)
        if said.get("level", "").lower() in ("error", "fatal"):
            return f"{TESTED}: {': '.join(said[key] for key in ('msg', 'error') if said.get(key))}"
    return None


def _logged(line: str) -> Mapping[str, str]:
    """The parts of a line of its log, in the format that is set: words or JSON."""
    if line.startswith("{"):
        return {key: each for key, each in table(parse_json(line, "nebula")).items() if isinstance(each, str)}
    return {key: quoted or plain for key, quoted, plain in _LOGGED.findall(line)}


async def _hostmap(config: Mapping[str, Any], tell: Tell) -> tuple[tuple[OverlayPeer, ...] | None, str | None]:
    """The peers, else why they cannot be listed. It asks only an sshd on loopback, because it does not check the host
    key.

    Without sshd, the default, Nebula does not report its sessions: no peers, and no error.
    """
    sshd = table(config.get("sshd"))
    host, port = _listen(sshd)
    users = sshd.get("authorized_users") or []
    if not sshd.get("enabled"):
        return None, None
    if not users or not _is_loopback(host):
        return None, "nebula's sshd is not reachable on loopback, so its host map cannot be read"
    options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
    words = [word for option in options for word in ("-o", option)]
    where = ("-p", str(port), "--", f"{text(users[0]['user'])}@{host}")
    try:
        answers = []
        for command in ("list-hostmap", "list-pending-hostmap"):
            status, output = await run("ssh", *words, *where, command, "-json", tell=tell)
            if status == SSH_FAILED:
                return None, f"nebula's sshd on {join_host_port(host, port)} refuses the login of this user"
            answers.append(parse_json(output, f"nebula's {command}"))
        with understood("nebula's sshd"):
            return parse_hostmap(answers[0], answers[1]), None
    except LocalError as error:
        return None, str(error)


def _listen(sshd: Mapping[str, Any]) -> tuple[str, int]:
    """Where sshd listens; no host where the configuration does not say."""
    try:
        return split_host_port(text(sshd.get("listen")))
    except ValueError:
        return "", 0


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _utc(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _unix_s(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
