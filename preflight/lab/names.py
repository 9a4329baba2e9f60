"""Everything in a lab is named after it: clean-up needs the name and no record."""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEMBERS = ("a", "b", "c")
ROUTER = "r"
GATEWAY = "g"
"""Between a and the router in some set-ups: a home router."""
HOST = "h"
"""The host of a's container in some set-ups: it has the uplink that a lacks."""
CARRIER = "k"
"""Between a's home router and the router in some set-ups: a carrier that translates addresses again."""
SERVER = "s"
"""The control host in some set-ups: not a member, but on a LAN behind one."""
KIND_VARIABLE = "PREFLIGHT_LAB_KIND"
"""Passes the kind of the lab to a run in it, for its report."""
FLEET_NODES = tuple(f"n{number}" for number in range(1, 13))
"""The nodes that a fleet may have."""
MANAGEMENT = "m"
"""The network by which the nodes of a fleet are managed: a switch, and the way in from outside."""
EVERYWHERE = (*MEMBERS, ROUTER, GATEWAY, HOST, CARRIER, SERVER, *FLEET_NODES, MANAGEMENT)

_VALID = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}")


class LabError(Exception):
    """A lab is not available; the text says which one and what to do."""


class UnknownLabError(LabError):
    """No lab, topology or scenario has this name; the text suggests the nearest ones."""


def state_root(environ: Mapping[str, str] = os.environ, uid: int | None = None) -> Path:
    """The directory that holds one directory per lab: all shells of root see root's labs."""
    uid = os.geteuid() if uid is None else uid
    if uid == 0:
        return Path("/run/preflight-lab")
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "preflight-lab"
    return Path(tempfile.gettempdir()) / f"preflight-lab-{uid}"


def private_directory(path: Path) -> Path:
    """Make a directory that only its owner can enter. Raises LabError if another user made it first."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise LabError(f"{path} belongs to another user; remove it, or set XDG_RUNTIME_DIR to a directory of yours")
    return path


@dataclass(frozen=True, slots=True)
class LabNames:
    """The names of one lab's namespaces, interfaces and directories."""

    lab: str
    root: Path

    @classmethod
    def of(cls, lab: str, root: Path | None = None) -> "LabNames":
        """Raises LabError for a name that is not valid in a file name."""
        if not _VALID.fullmatch(lab):
            raise LabError(
                f"{lab!r} is not a valid name for a lab: at most 48 of a-z, 0-9, - and _, a letter or digit first"
            )
        return cls(lab, root or state_root())

    @property
    def directory(self) -> Path:
        """The directory of all files of the lab; it is also the lab's lock."""
        return self.root / self.lab

    def namespace(self, node: str) -> str:
        """The network namespace of a node."""
        return f"preflight-{self.lab}-{node}"

    def namespace_file(self, node: str) -> Path:
        """The file that names the namespace for ip(8)."""
        return Path("/run/netns") / self.namespace(node)

    def tunnel(self, node: str) -> str:
        """The WireGuard interface of a node: at most 15 bytes, and unique as wireguard-go's sockets share a folder."""
        return f"pl-{hashlib.sha256(self.lab.encode()).hexdigest()[:8]}-{node}"

    @property
    def other_vpn(self) -> str:
        """The WireGuard interface of a's second VPN, in set-ups that have one; unique for the same reason."""
        return self.tunnel("v")

    def files(self, owner: str) -> Path:
        """The directory of a node's files, or of those of the `control` plane."""
        return self.directory / owner

    def etc(self, node: str) -> Path:
        """Where `ip netns exec` looks for a node's own resolv.conf and hosts."""
        return Path("/etc/netns") / self.namespace(node)

    def mark(self, daemon: str) -> str:
        """The value of the environment variable that marks a daemon of this lab."""
        return f"{self.directory}/{daemon}"
