"""SSH sessions that a fix may cut: found by the variable that SSH gives to a shell, and judged by the kernel's route.

`sudo` removes SSH's variables, so the processes above this one are asked too.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from preflight.fixing.applier import Run, located
from preflight.fixing.step import FixError
from preflight.model.fix import (
    AddressDelete,
    Fix,
    ForwardingEntry,
    KernelSettings,
    LinkAddresses,
    LinkMtu,
    LinkMtuByAddress,
    LinkUp,
    NoPresharedKey,
    PolicyRule,
    QueueDelete,
    RefusalDelete,
    Route,
    RouteAround,
    ServiceRestart,
    WgQuick,
    WireguardKey,
    WireguardMark,
    WireguardPeer,
    WireguardPort,
)

_VARIABLE = "SSH_CONNECTION"
_INTERFACES = {"tailscaled": "tailscale", "zerotier-one": "zt", "nebula": "nebula"}
"""How the interfaces of each service begin."""
_DEEPEST = 64
_OF_INTERFACE = (
    ForwardingEntry, LinkMtu, LinkUp, LinkAddresses, QueueDelete, WgQuick, WireguardKey, WireguardMark,
    WireguardPeer, WireguardPort,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Session:
    """One SSH session, from a client to an address of this node."""

    client: str
    server: str


@dataclass(frozen=True, slots=True)
class Carried:
    """A session, and the interface by which its answers leave."""

    session: Session
    interface: str


def session_of(variable: str) -> Session | None:
    """The session that `SSH_CONNECTION` names; None for any other text."""
    words = variable.split()
    try:
        client, server = words[0], words[2]
        return Session(str(ip_address(client.partition("%")[0])), str(ip_address(server.partition("%")[0])))
    except (IndexError, ValueError):
        return None


def sessions(environ: Mapping[str, str] = os.environ, processes: Path = Path("/proc")) -> tuple[Session, ...]:
    """The sessions in which this command runs, each once."""
    texts = [environ.get(_VARIABLE, ""), *_above(processes)]
    return tuple(dict.fromkeys(found for text in texts if (found := session_of(text)) is not None))


def _above(processes: Path) -> Iterator[str]:
    """The variable of each process above this one."""
    process = str(os.getppid())
    for _ in range(_DEEPEST):
        if process in ("0", ""):
            return
        folder = processes / process
        try:
            environ = (folder / "environ").read_bytes()
            for entry in environ.split(b"\0"):
                name, _, value = entry.partition(b"=")
                if name == _VARIABLE.encode():
                    yield value.decode("ascii", "replace")
            status = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            process = status.rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            return


def carried(found: Iterable[Session], run: Run) -> tuple[Carried, ...]:
    """The interface of each session, by the kernel's own look-up; sessions without a route are left out."""
    return tuple(each for session in found if (each := _carried(session, run)) is not None)


def _carried(session: Session, run: Run) -> Carried | None:
    question = ("ip", "-json", "route", "get", session.client, "from", session.server)
    try:
        ran = run(located(question))
        (route,) = json.loads(ran.output) if ran.exit_code == 0 else ({},)
    except (FixError, ValueError):
        return None
    return Carried(session, str(route["dev"])) if route.get("dev") else None


def warnings(fixes: Iterable[Fix], found: Iterable[Carried]) -> tuple[str, ...]:
    """A sentence for each session that a fix may cut."""
    changes = tuple(fixes)
    return tuple(
        f"Your SSH session from {each.session.client} runs over {each.interface}, {why}: it may be cut."
        for each in found
        if (why := next(filter(None, (_touched(fix, each) for fix in changes)), None))
    )


def _touched(fix: Fix, session: Carried) -> str | None:
    """How a fix touches the session's way; None if it does not."""
    interface = session.interface
    if isinstance(fix, _OF_INTERFACE):
        return "which is changed" if fix.interface == interface else None
    if isinstance(fix, LinkMtuByAddress | NoPresharedKey):
        return "which is changed" if fix.address == session.session.server else None
    if isinstance(fix, AddressDelete):
        own = fix.address.partition("/")[0] == session.session.server
        return "by an address that is deleted" if own else None
    if isinstance(fix, ServiceRestart):
        return "whose daemon is restarted" if interface.startswith(_INTERFACES[fix.service]) else None
    if isinstance(fix, KernelSettings):
        touched = any(f".{interface.replace('.', '/')}." in each.name for each in fix.settings)
        return "whose settings are changed" if touched else None
    return "and its route is changed" if _covers(fix, session.session) else None


def _covers(fix: Fix, session: Session) -> bool:
    """Whether a change of routes or rules is about the session's addresses."""
    if isinstance(fix, RouteAround):
        return fix.endpoint == session.client
    if isinstance(fix, Route | RefusalDelete):
        return _in(session.client, fix.destination)
    if isinstance(fix, PolicyRule):
        to, source = fix.destination, fix.source
        return (to is None or _in(session.client, to)) and (source is None or _in(session.server, source))
    return False


def _in(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network)
