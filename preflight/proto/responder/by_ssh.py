"""A responder that ssh starts for one run: the command line there, what is sent to it, and what its answers mean. Pure.

Standard input carries the pack and the order: nothing of them is in a file, an argument or the environment there.
Python keeps the pack in memory that has no name, and its end is that of standard input.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preflight.model.host_port import join_host_port
from preflight.model.printable import excerpt
from preflight.proto.responder import remote_words as words

CONNECT_S = 5
_LOADER = (
    "import os,sys;"
    f'sys.version_info<{words.OLDEST} and sys.exit(print("{words.MARK}{words.PYTHON} "+sys.version.split()[0]));'
    f'sys.argv[1:]=["{words.ORDERED}"];'
    "i=sys.stdin.buffer;d=i.read(int(i.readline()));"
    'f=os.memfd_create("responder");os.write(f,d);'
    "import runpy;"
    'runpy.run_path("/proc/self/fd/%d"%f,run_name="__main__")'
)
REMOTE = f"exec python3 -I -S -c '{_LOADER}'"
"""For whatever shell the user has there: one word in single quotes."""

_OPTIONS: Mapping[str, object] = {
    "BatchMode": "yes",
    "ConnectTimeout": CONNECT_S,
    "ServerAliveInterval": 5,
    "ServerAliveCountMax": 3,
    "LogLevel": "ERROR",
    "ControlMaster": "no",
    "ClearAllForwardings": "yes",
    "ForwardX11": "no",
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
    "RequestTTY": "no",
}
"""Nobody is asked, and what the user's configuration would open in addition stays closed."""

_REFUSALS: tuple[tuple[str, str], ...] = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", "its host key is not the one that known_hosts has"),
    (r"Host key verification failed|No \S+ host key is known", "its host key is not known here"),
    (r"Permission denied \(([\w,-]+)\)", "it accepts no key of this user ({})"),
    (r"Too many authentication failures", "it refused the keys of this user: too many were offered"),
    (r"Could not resolve hostname", "its name cannot be resolved"),
    (r"Connection refused", "its SSH port refused the connection"),
    (r"timed out", "nothing answered on its SSH port in time"),
    (r"(No route to host|Network is unreachable)", "there is no way to its SSH port ({})"),
)
_LAST_PORT = 65535
_NOT_FOUND = 127
"""The exit code of a shell for a program that it does not find."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The responder listens."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Refused:
    """It cannot start; the text is a clause without a subject."""

    why: str


@dataclass(frozen=True, slots=True)
class Reached:
    """Where `ssh -G` says that a destination leads. plain: no other program or host is between."""

    host: str
    port: str
    plain: bool


def command(ssh: str, destination: str, config: str | None, *, more: Sequence[str] = ()) -> list[str]:
    """The command line that starts a responder. config: another file than the user's. more: options of ssh."""
    options = [word for name, value in _OPTIONS.items() for word in ("-o", f"{name}={value}")]
    return [ssh, *_file(config), "-T", *options, *more, "--", destination, REMOTE]


def question(ssh: str, destination: str, config: str | None) -> list[str]:
    """The command line that says where a destination leads; no packet is sent."""
    return [ssh, *_file(config), "-G", "--", destination]


def _file(config: str | None) -> list[str]:
    return ["-F", config] if config is not None else []


def read_reached(text: str) -> Reached:
    """The answer."""
    values = dict(line.partition(" ")[::2] for line in text.splitlines())
    between = ("proxyjump", "proxycommand", "bindaddress", "bindinterface")
    plain = all(values.get(name, "none") in ("none", "") for name in between)
    return Reached(values.get("hostname", ""), values.get("port", "22"), plain)


def stream(
    pack: bytes, *, address: str, port: int, key: bytes, askers: Sequence[str], life_s: float, load: bool = False
) -> bytes:
    """What is written to standard input there. askers: each ADDRESS:PORT where this node hears hellos."""
    order: dict[str, Any] = {
        "bind": join_host_port(address, port),
        "key": key.hex(),
        "peers": list(askers),
        "life_s": life_s,
        "load": load,
    }
    return b"%d\n" % len(pack) + pack + json.dumps(order).encode("ascii") + b"\n"


def read_line(line: str, address: str, name: str) -> Ready | Refused | None:
    """What a line of standard output means; None for one that is not the responder's."""
    if not line.startswith(words.MARK):
        return None
    word, _, rest = line.removeprefix(words.MARK).strip().partition(" ")
    rest = excerpt(rest)
    match word:
        case words.LISTENING if (port := rest.rpartition(":")[2]).isdecimal() and 0 < int(port) <= _LAST_PORT:
            return Ready(address, int(port))
        case words.PYTHON:
            wanted = ".".join(map(str, words.OLDEST))
            return Refused(f"its python3 is {rest}, and the responder needs {wanted} or newer")
        case words.TAKEN:
            return Refused(f"UDP port {rest} is in use there; `ss -lunp 'sport = :{rest}'` on {name} shows by what")
        case words.ABSENT:
            return Refused(f"the host that ssh reaches does not have the address {address}")
        case words.ERROR:
            return Refused(f"the responder could not start there: {rest}")
    return None


def refusal(errors: str, code: int | None) -> Refused:
    """Why nothing listens, from what ssh and the shell there have said. code: the exit code, None while it runs."""
    for pattern, clause in _REFUSALS:
        if found := re.search(pattern, errors):
            return Refused(clause.format(*found.groups()))
    if code == _NOT_FOUND:
        return Refused("it has no python3")
    lines = [line for line in errors.splitlines() if line.strip()]
    if lines:
        return Refused(f"ssh says: {excerpt(lines[-1])}")
    return Refused("nothing came back in time" if code is None else f"ssh ended with exit code {code}")
