"""Two nodes with a product's recorded words on one of them, and real traffic between them.

The data path is wireguard-go under the name of the product's interface. Its own sockets are hidden from the node, which
sees only the product: a TUN device of the recorded name and addresses, and the fake server of its daemon. Each node is
a process with separate namespaces (network, mount): they end with the process, and leave nothing.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SAMPLES = Path(__file__).parents[1] / "samples"
UNDERLAYS = {"tailscale": "10.231", "zerotier": "10.232"}
"""Where the recorded nodes were: a is .1.1, b is .2.1."""
PORTS = {"tailscale": 41641, "zerotier": 9993}
MARKS = {41641: 0x80000}
"""Of the product's own packets, by its port."""
_READY_S = 10.0


def text_of(argv: Sequence[str], stdin: str | None = None) -> str:
    """What a program prints. An AssertionError with its words if it fails."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Node:
    """A node: the process that holds its namespaces, its underlay address, and its device with its addresses."""

    holder: subprocess.Popen[bytes]
    underlay: str
    device: str
    addresses: tuple[str, ...]
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def argv(self, *words: str) -> list[str]:
        """The command line that runs a program on this node."""
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", "--", *words]

    def run(self, *words: str, stdin: str | None = None) -> str:
        """What a program on this node prints. An AssertionError with its words if it fails."""
        return text_of(self.argv(*words), stdin)

    def start(self, *words: str, until: str = "") -> subprocess.Popen[bytes]:
        """A program that goes on, once it has printed a line with `until`."""
        process = subprocess.Popen(self.argv(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.started.append(process)
        assert process.stdout is not None
        while until and until not in (line := process.stdout.readline().decode()):
            assert line, f"{words} ended"
        return process

    def drop(self, hook: str, rule: str) -> None:
        """Add one nftables rule at a hook."""
        chain = f"add chain inet t {hook} {{ type filter hook {hook} priority 0; }}"
        self.run("nft", "-f", "-", stdin=f"add table inet t\n{chain}\nadd rule inet t {hook} {rule}\n")

    def end(self) -> None:
        """End what was started here, and the namespaces with it."""
        for process in (*reversed(self.started), self.holder):
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout)):
                pipe.close()


@dataclass
class World:
    """a, where preflight runs and the daemon's words are read from `said`; and b, its peer, with a responder."""

    a: Node
    b: Node
    said: Path

    def preflight(self, *words: str, settings: Path | None = None, **more: Any) -> Mapping[str, Any]:
        """The report of a run on a. settings: the file to use, else one with the responder's key and `more`."""
        file, used = self.a.folder / "report.json", settings or self.a.folder / "settings.yaml"
        if settings is None:
            key = {"responder": {"key_file": str(self.a.folder / "key")}}
            used.write_text(yaml.safe_dump({**key, **more}), encoding="utf-8")
        options = ["--config", str(used), "--output", f"json={file}", "--output", "text"]
        done = self.command(*words, *options)
        assert done.returncode in (0, 1, 3), done.stdout + done.stderr
        report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {**report, "exit": done.returncode, "text": done.stdout}

    def respond(self, address: str) -> None:
        """A responder on b at one of its addresses, with the key that a has."""
        words = ("--bind", f"{address}:862", "--key-file", str(self.a.folder / "key"))
        self.b.start(sys.executable, "-m", "preflight", "responder", *words, until="862")

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of the program on a."""
        argv = self.a.argv(sys.executable, "-m", "preflight", *words)
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


def _holder() -> subprocess.Popen[bytes]:
    script = "mount --make-rprivate / && mount -t tmpfs none /run && mount -t tmpfs none /var/lib && exec cat"
    argv = ["unshare", "--net", "--mount", "--kill-child", "sh", "-c", f"{script}"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"ready\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"ready\n"
    return process


@contextmanager
def world(
    tmp_path: Path,
    product: str,
    answers: Mapping[str, Path],
    device: str,
    ours: Sequence[str],
    theirs: Sequence[str],
    *,
    on_the_device: Sequence[str] | None = None,
) -> Iterator[World]:
    """Build it. answers: the file to serve for each path of the API. ours, theirs: overlay addresses with their
    prefix length; on_the_device: those that a's device really has, if that differs from what the daemon says.
    """
    said = tmp_path / "said"
    said.mkdir()
    for name, file in answers.items():
        shutil.copy(file, said / f"{name}{file.suffix}")
    has = tuple(ours if on_the_device is None else on_the_device)
    with ExitStack() as stack:
        nodes = []
        network = UNDERLAYS[product]
        for name, host, addresses in (("a", "1.1", has), ("b", "2.1", tuple(theirs))):
            folder = tmp_path / name
            folder.mkdir()
            nodes.append(Node(_holder(), f"{network}.{host}", device, addresses, folder))
            stack.callback(nodes[-1].end)
        a, b = nodes
        _join(a, b)
        _tunnel(a, b, ours, theirs, PORTS[product])
        _fake_daemon(a, product, said)
        there = World(a, b, said)
        _key(a.folder)
        there.respond(theirs[0].split("/")[0])
        yield there


def _key(folder: Path) -> None:
    """A key file that a and the responder share."""
    file = folder / "key"
    file.touch(mode=0o600)
    file.write_text("a key of this test alone", encoding="ascii")


def _join(a: Node, b: Node) -> None:
    """A wire between them."""
    words = ("type", "veth", "peer", "name", "eth0", "netns", str(b.holder.pid))
    a.run("ip", "link", "add", "eth0", *words)
    for node in (a, b):
        node.run("ip", "address", "add", f"{node.underlay}/16", "dev", "eth0")
        for link in ("lo", "eth0"):
            node.run("ip", "link", "set", link, "up")
    # Where the recorded control servers, roots and relays were; nobody is there now.
    a.run("ip", "route", "add", "default", "via", b.underlay)


def _tunnel(a: Node, b: Node, ours: Sequence[str], theirs: Sequence[str], port: int) -> None:
    keys = {node.underlay: text_of(["wg", "genkey"]) for node in (a, b)}
    for node in (a, b):
        node.start("wireguard-go", "-f", node.device)
        wait_for(node)
    for node, other, allowed in ((a, b, theirs), (b, a, ours)):
        public = text_of(["wg", "pubkey"], keys[other.underlay])
        hosts = ",".join(f"{each.split('/')[0]}/{128 if ':' in each else 32}" for each in allowed)
        lines = [
            "[Interface]",
            f"PrivateKey={keys[node.underlay]}",
            f"ListenPort={port}",
            f"FwMark={MARKS.get(port, 0)}",
            "[Peer]",
        ]
        lines += [f"PublicKey={public}", f"AllowedIPs={hosts}", f"Endpoint={other.underlay}:{port}"]
        node.run("wg", "setconf", node.device, "/dev/stdin", stdin="\n".join([*lines, ""]))
        for address in node.addresses:
            node.run("ip", "address", "add", address, "dev", node.device)
        node.run("ip", "link", "set", node.device, "mtu", "1280", "up")
        for host in hosts.split(",") if node.addresses else ():
            node.run("ip", "route", "replace", host, "dev", node.device)
        node.run("mount", "-t", "tmpfs", "none", "/run/wireguard")


def wait_for(node: Node) -> None:
    """Until the daemon of the node's device answers."""
    socket, deadline = f"/run/wireguard/{node.device}.sock", time.monotonic() + _READY_S
    while subprocess.run(node.argv("test", "-S", socket), check=False).returncode:
        assert time.monotonic() < deadline, "wireguard-go did not start"
        time.sleep(0.02)


def _fake_daemon(a: Node, product: str, said: Path) -> None:
    home = {"tailscale": "/run/tailscale", "zerotier": "/var/lib/zerotier-one"}[product]
    a.run("mkdir", "-p", home)
    if product == "zerotier":
        for name, text in (("authtoken.secret", "lab"), ("zerotier-one.port", "9993")):
            a.run("tee", f"{home}/{name}", stdin=text)
    a.start(sys.executable, str(Path(__file__).with_name("fake_daemon.py")), product, str(said), until="ready")
