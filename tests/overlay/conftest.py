"""A real WireGuard tunnel between two network namespaces, for tests that need root."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest

_serial = count()


def sh(*argv: str, stdin: str | None = None) -> str:
    """Run a program; its output, or an error with what it said."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Node:
    """One namespace with its underlay address and its end of the tunnel."""

    namespace: str
    interface: str
    underlay: str
    overlay: str
    private_key: str = field(default_factory=lambda: sh("wg", "genkey"))
    own_daemon: bool = False
    daemon: subprocess.Popen[bytes] | None = None

    @property
    def public_key(self) -> str:
        """As `wg pubkey` derives it."""
        return sh("wg", "pubkey", stdin=self.private_key)

    def run(self, *argv: str) -> str:
        """Run a program in the namespace."""
        return sh("ip", "netns", "exec", self.namespace, *argv)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Move this thread into the namespace."""
        from pyroute2 import netns

        netns.pushns(self.namespace)
        try:
            yield
        finally:
            netns.popns()

    def start(self) -> None:
        """Make the tunnel and give its interface the address: the kernel's WireGuard where it has one."""
        if self.own_daemon or not self._kernel_has_it():
            self._start_daemon()
        key_file = Path(f"/tmp/{self.interface}.key")
        key_file.write_text(self.private_key)
        try:
            self.run("wg", "set", self.interface, "private-key", str(key_file), "listen-port", "51820")
        finally:
            key_file.unlink()
        self.run("ip", "address", "add", f"{self.overlay}/24", "dev", self.interface)
        self.run("ip", "link", "set", self.interface, "mtu", "1420", "up")

    def _kernel_has_it(self) -> bool:
        words = ["ip", "-n", self.namespace, "link", "add", self.interface, "type", "wireguard"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def _start_daemon(self) -> None:
        self.daemon = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, "wireguard-go", self.interface],
            env={**os.environ, "WG_PROCESS_FOREGROUND": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        socket = Path(f"/var/run/wireguard/{self.interface}.sock")
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert time.monotonic() < deadline, "wireguard-go did not start"
            time.sleep(0.01)

    def know(self, peer: "Node", *more: str) -> None:
        """Add the peer; `more` is further words of `wg set … peer`."""
        defaults = ["endpoint", f"{peer.underlay}:51820", "allowed-ips", f"{peer.overlay}/32"]
        self.run("wg", "set", self.interface, "peer", peer.public_key, *defaults, *more)

    def filter(self, hook: str, rule: str) -> None:
        """Add one nft rule to a hook of the namespace's firewall."""
        chain = f"add chain ip t c {{ type filter hook {hook} priority 0; }}"
        self.run("nft", f"add table ip t; {chain}; add rule ip t c {rule}")

    def signal(self, number: int) -> None:
        """Send the daemon a signal."""
        assert self.daemon is not None
        self.daemon.send_signal(number)

    def stop(self) -> None:
        """End the tunnel: the kernel's, or the daemon that was started here."""
        if self.daemon is None:
            words = ["ip", "-n", self.namespace, "link", "delete", self.interface]
            subprocess.run(words, capture_output=True, check=False)
        else:
            self.daemon.terminate()
            self.daemon.wait()
            Path(f"/var/run/wireguard/{self.interface}.sock").unlink(missing_ok=True)


@dataclass
class Pair:
    """Two nodes on one wire."""

    a: Node
    b: Node


@pytest.fixture
def wire() -> Iterator[Pair]:
    """Two namespaces with an underlay between them (MTU 1500) and no tunnel yet."""
    mark = f"{os.getpid() % 100000}{next(_serial)}"
    a = Node(f"pfov{mark}a", f"pfw{mark}a", "10.203.1.1", "10.99.0.1")
    b = Node(f"pfov{mark}b", f"pfw{mark}b", "10.203.1.2", "10.99.0.2")
    with ExitStack() as stack:
        for node in (a, b):
            sh("ip", "netns", "add", node.namespace)
            stack.callback(sh, "ip", "netns", "del", node.namespace)
            stack.callback(node.stop)
            node.run("ip", "link", "set", "lo", "up")
        end = ["type", "veth", "peer", "name", "eth0", "netns", b.namespace]
        sh("ip", "link", "add", "eth0", "netns", a.namespace, *end)
        for node in (a, b):
            node.run("ip", "address", "add", f"{node.underlay}/24", "dev", "eth0")
            node.run("ip", "link", "set", "eth0", "up")
        yield Pair(a, b)


@pytest.fixture
def daemons(wire: Pair) -> Pair:
    """The wire whose tunnels will be made by wireguard-go, also where the kernel has WireGuard."""
    for node in (wire.a, wire.b):
        node.own_daemon = True
    return wire


@pytest.fixture
def tunnel(wire: Pair) -> Pair:
    """The wire with a WireGuard tunnel whose two ends know each other; nothing was sent yet."""
    for node in (wire.a, wire.b):
        node.start()
    wire.a.know(wire.b)
    wire.b.know(wire.a)
    return wire
