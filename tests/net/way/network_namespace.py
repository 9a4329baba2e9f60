"""Network namespaces of a test's own thread, made by lines of ip(8)."""

import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from os import getpid

_serial = count()


@contextmanager
def namespaces(*commands: str) -> Iterator[tuple[str, str]]:
    """Two fresh namespaces joined by a veth, e0 here and e1 there; this thread is in the first one.

    The lines are of ip(8), `there: …` for the second namespace. Both are gone afterwards.
    """
    from pyroute2 import netns

    names = tuple(f"pfway{getpid()}{side}{next(_serial)}" for side in "ab")
    here, there = names
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True)
            # An address that is still being checked for a twin answers no question and asks none.
            settings = [f"net.ipv6.conf.{which}.accept_dad=0" for which in ("all", "default")]
            subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", *settings], check=True)
        _lay(_PAIR, here, there)
        netns.pushns(here)
        try:
            _until_it_answers("fd05::2")
            for name in names:
                subprocess.run(["ip", "-n", name, "neighbour", "flush", "all"], check=True)
            _lay(commands, here, there)
            yield here, there
        finally:
            netns.popns()
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def _until_it_answers(address: str) -> None:
    """A link that has just come up answers nothing for most of a second, as no uplink of a running machine does."""
    for _ in range(40):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.25)
            try:
                asking.connect((address, 9))
                asking.send(b"?")
                asking.recv(1)
            except ConnectionRefusedError:
                return
            except OSError:
                continue
    raise AssertionError(f"{address} never answers")


def _lay(lines: Iterable[str], here: str, there: str) -> None:
    for line in lines:
        where, _, words = line.rpartition("there: ")
        name = there if where or line.startswith("there: ") else here
        subprocess.run(["ip", "-n", name, *words.replace("$there", there).split()], check=True)


_PAIR = (
    "link set lo up",
    "link add e0 type veth peer name e1 netns $there",
    "address add 10.5.0.1/24 dev e0",
    "address add fd05::1/64 dev e0 nodad",
    "link set e0 up",
    "there: link set lo up",
    "there: address add 10.5.0.2/24 dev e1",
    "there: address add fd05::2/64 dev e1 nodad",
    "there: link set e1 up",
)
