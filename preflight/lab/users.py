"""The user who runs preflight on a, where that is not root: Debian's nobody, without any privilege."""

import os
from collections.abc import Sequence
from dataclasses import replace
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
    for folder, mode in ((names.root, 0o710), (names.directory, 0o1730)):
        os.chown(folder, -1, GID)
        folder.chmod(mode)
    own = names.files("a")
    for path in (own, *own.rglob("*")):
        os.chown(path, UID, GID, follow_symlinks=False)


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
