"""OpenVPN: its processes, the devices that they have open, and what their logs say; root only.

It does not show who owns which address, so its peers are not listed: a client knows its remote end only, and a server
those whom its option `status` lists.
"""

import asyncio
import time
from calendar import timegm
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import Any

from preflight.model.complaint import Complaint
from preflight.model.event import Tell, silent
from preflight.model.kernel import Link
from preflight.model.overlay import OverlayState
from preflight.overlay.daemons import (
    PROC,
    arguments,
    as_it_sees,
    hidden,
    last_lines,
    of_file,
    of_unit,
    processes,
    tun_devices,
)
from preflight.overlay.links import state_of
from preflight.overlay.openvpn_process import read_file, read_options
from preflight.proto.tunnel.openvpn_flaps import comes_and_goes, twins
from preflight.proto.tunnel.openvpn_levers import OTHERS_NAME, STOPPED
from preflight.proto.tunnel.openvpn_stage import Stage, garbled, stage, verdict
from preflight.proto.tunnel.openvpn_status import clients
from preflight.proto.way.openvpn import Options, config_of, remotes_in, value_of

MOST = 8
"""Processes that are read."""
FOLDER = Path("/etc/openvpn")


async def read(links: Iterable[Link], tell: Tell = silent, proc: Path = PROC) -> list[OverlayState]:
    """The state of each OpenVPN process that runs in this network namespace."""
    running = sorted(processes("openvpn", proc), key=lambda each: int(each.name))[:MOST]
    known = {link.name: link for link in links}
    states = await asyncio.gather(*(_state(process, known, tell) for process in running))
    return [state for state in states if state is not None]


async def _state(process: Path, known: dict[str, Link], tell: Tell) -> OverlayState | None:
    options = read_options(process)
    if options is None:
        return None
    named = value_of(options, "log-append") or value_of(options, "log")
    lines = await last_lines(process, named, tell, timed=True)
    seen = stage(lines) if is_client(options) else Stage()
    device = next((name for name in tun_devices(process) if name in known), None)
    state = state_from(options, known.get(device or ""), seen, unit_of(process))
    if (listed := value_of(options, "status")) is not None and not is_client(options):
        state = replace(state, met=clients(of_file(as_it_sees(process, listed))), lists_sessions=True)
    again = (of_losses if is_client(options) else of_twins)(lines, timegm(time.localtime()))
    return state if again is None else replace(state, complaints=(*state.complaints, again))


async def stopped(
    interface: str | None, tell: Tell = silent, folder: Path = FOLDER, proc: Path = PROC
) -> OverlayState | None:
    """The client that is configured and does not run; None where there is none, or which one is meant is not known.

    interface: the overlay's, where it is set.
    """
    found = [(file, read_file(file)) for file in _files(folder)]
    clients = [(file, each) for file, each in found if each is not None and is_client(each)]
    if interface is not None:
        clients = [(file, each) for file, each in clients if value_of(each, "dev") == interface]
    if len(clients) != 1:
        return None
    file, options = clients[0]
    unit = unit_named(file.parent.name, file.stem)
    named = value_of(options, "log-append") or value_of(options, "log")
    lines = of_file(file.parent / named) if named is not None else await of_unit(unit, tell)
    why = verdict(stage(lines))
    device = value_of(options, "dev")
    if hidden("openvpn", proc):
        unseen = f"{file} is its configuration, and there is no interface of it here; only root sees what openvpn does"
        return _down(device, "overlay.down", unseen, unit)
    reason = f": {STOPPED}" if "SIGTERM[hard" in "".join(lines[-1:]) else f": {why.said}" if why is not None else ""
    said = f"{file} is its configuration, and no openvpn runs here{reason}"
    code = "overlay.daemon-down" if why is None or why.quiet else why.code
    return _down(device, code, said, unit)


def of_losses(lines: Iterable[str], now_s: float) -> Complaint | None:
    """What a client says of sessions that end again and again."""
    lost = comes_and_goes(lines, now_s)
    if lost is None:
        return None
    said = (
        f"its last {lost.times} sessions ended within {lost.lasted_s:.0f} s each, because nothing more came: another "
        f"client {OTHERS_NAME}, or something on the way stops what it carries"
    )
    return Complaint("overlay.unhealthy", said, cuts=True)


def of_twins(lines: Iterable[str], now_s: float) -> Complaint | None:
    """What a server says of two clients with one name."""
    found = twins(lines, now_s)
    if found is None:
        return None
    where = f" ({' and '.join(found.hosts)})" if found.hosts else ""
    said = f"two clients{where} use the certificate of {found.name}, and each that connects ends the other's session"
    return Complaint("overlay.duplicate-key", said, cuts=True)


def _down(device: str | None, code: str, said: str, unit: str) -> OverlayState:
    return OverlayState(
        product="openvpn", interface=device, up=False, mtu=None, condition=code, health=(said,), network=unit
    )


def _files(folder: Path) -> Iterator[Path]:
    for pattern in ("client/*.conf", "*.conf"):
        yield from sorted(folder.glob(pattern))


def is_client(options: Options) -> bool:
    """Whether it calls another end, and is not a server that many call."""
    words = {line[0] for line in options}
    return not words & {"server", "server-ipv6", "server-bridge", "tls-server"} and "remote" in words


def far_end(options: Options) -> tuple[str, ...]:
    """The address in the tunnel of the other one of two ends, by its own options; a netmask is not one."""
    last = next((line[2] for line in reversed(options) if line[0] == "ifconfig" and len(line) > 2), "")
    with suppress(ValueError):
        return (str(ip_address(last)),) if not last.startswith("255.") else ()
    return ()


def unit_of(process: Path) -> str:
    """The unit of systemd that would run it: named by its folder and its configuration."""
    try:
        file = PurePosixPath(config_of(arguments(process)) or "client.conf")
        folder = file.parent.name or (process / "cwd").readlink().name
    except OSError:
        return "openvpn"
    return unit_named(folder, file.stem)


def unit_named(folder: str, name: str) -> str:
    """The unit of a configuration of this name in a folder of /etc/openvpn."""
    return f"openvpn-{folder}@{name}" if folder in ("client", "server") else f"openvpn@{name}"


def state_from(options: Options, link: Link | None, seen: Stage, unit: str) -> OverlayState:
    """The common state. link: of its device, None while it has none.

    A client that lost its server keeps its device for a while: then traffic shows more than the log does.
    """
    found = verdict(seen)
    if link is not None:
        more: dict[str, Any] = {
            "network": unit,
            "met": seen.inside[:1] or far_end(options),
            "lists_sessions": False,
            "one_end": is_client(options),
        }
        if found is not None and found.quiet:
            more["complaints"] = (Complaint(found.code, found.said, cuts=True),)
        elif (unread := garbled(seen)) is not None:
            more["complaints"] = (Complaint(_DROPPED, unread, cuts=True),)
        elif found is not None:
            more |= {"condition": found.code, "health": (found.said,)}
        return state_of(link, "openvpn", **more)
    said = found.said if found is not None else _unsaid(options)
    code = _UNMADE if found is None or found.quiet else found.code
    return _down(value_of(options, "dev"), code, said, unit)


_UNMADE, _DROPPED = "overlay.not-joined", "overlay.policy-drop"


def _unsaid(options: Options) -> str:
    ends = " and ".join(f"{host}{f' port {port}' if port else ''}" for host, port in remotes_in(options)[:4])
    return f"it runs and has no interface, so it has not connected to {ends or 'anything'} yet"
