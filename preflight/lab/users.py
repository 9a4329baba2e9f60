"""The user who runs preflight on a, where that is not root: Debian's nobody, without any privilege."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from preflight.lab.blueprint import Blueprint
from preflight.lab.names import LabNames
from preflight.lab.network import inside, set_sysctl
from preflight.lab.part import Part
from preflight.lab.processes import program

if TYPE_CHECKING:
    from preflight.lab.network import Network

UID = GID = 65534


def hand_over(plan: Blueprint, names: LabNames) -> None:
    """Let the plan's user read a's files, and make reports next to them. Other members' files stay closed to it."""
    if plan.user == "root":
        return
    with _only_one(names.root):
        for folder, mode in ((names.directory, 0o1730), (names.root, 0o710)):
            os.chown(folder, -1, GID)
            folder.chmod(mode)
    own = names.files("a")
    for path in (own, *own.rglob("*")):
        os.chown(path, UID, GID, follow_symlinks=False)


def take_back(names: LabNames) -> None:
    """Close the lab's directory to the ordinary user, and that of all labs if no other lab has such a user."""
    root = names.root
    if os.geteuid() != 0 or root.stat().st_gid != GID:
        return
    with _only_one(root):
        _close(names.directory)
        if not any(map(_is_open, root.iterdir())):
            _close(root)


def _is_open(folder: Path) -> bool:
    try:
        return folder.stat().st_gid == GID
    except FileNotFoundError:
        return False  # another command has just removed its lab


def _close(folder: Path) -> None:
    os.chown(folder, -1, 0)
    folder.chmod(0o700)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Let no other command change who may enter the directory meanwhile."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def as_user(plan: Blueprint, words: Sequence[str]) -> list[str]:
    """A command line that the plan's user runs."""
    if plan.user == "root":
        return list(words)
    return [program("setpriv"), f"--reuid={UID}", f"--regid={GID}", "--clear-groups", *words]


def ordinary() -> Part:
    """An ordinary user runs preflight on a."""

    def underlay(network: "Network") -> None:
        # As systemd sets it on a host: every user may send ICMP echo requests.
        with inside(network.names.namespace("a")):
            set_sysctl("net/ipv4/ping_group_range", "0 2147483647")

    return Part("an ordinary user runs preflight", shape=lambda plan: replace(plan, user="ordinary"), underlay=underlay)
