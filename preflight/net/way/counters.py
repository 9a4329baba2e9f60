"""Counters of this network namespace: each file is read once, all together in less than a millisecond."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from preflight.model.counters import Counters, Queue
from preflight.net.route_socket import name_of
from preflight.proto.way.proc_counters import parse_devices, parse_lines, parse_pairs, parse_sockets

FOLDER: Final = Path("/proc/thread-self/net")
"""Of this thread's namespace, where `/proc/net` is the process's."""
ROOT: Final = 0xFFFFFFFF  # TC_H_ROOT


def read_counters(queues: Iterable[Any] = (), folder: Path = FOLDER) -> Counters:
    """All of them; a file that the kernel does not have gives none. queues: RTM_NEWQDISC messages."""
    pairs = parse_pairs(_text(folder / "snmp")) | parse_pairs(_text(folder / "netstat"))
    return Counters(
        values=pairs | parse_lines(_text(folder / "snmp6")) | parse_lines(_text(folder / "xfrm_stat")),
        devices=parse_devices(_text(folder / "dev")),
        sockets=(*parse_sockets(_text(folder / "udp")), *parse_sockets(_text(folder / "udp6"))),
        queues=tuple(filter(None, map(parse_queue, queues))),
    )


def parse_queue(message: Any) -> Queue | None:
    """One RTM_NEWQDISC message; None for an interface that has gone."""
    name, old = name_of(message["index"]), message.get_attr("TCA_STATS")
    if name is None:
        return None
    return Queue(
        interface=name,
        kind=message.get_attr("TCA_KIND") or "",
        root=message["parent"] == ROOT,
        dropped=old["drop"] if old else 0,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
