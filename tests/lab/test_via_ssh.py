"""Responders over a real sshd in a namespace whose host has Python and nothing of ours."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from preflight.api import Peer
from preflight.lab.network import Network, inside
from preflight.net.responder.by_ssh import Borrowed, Means, borrow
from preflight.proto.responder.by_ssh import Refused
from preflight.responder.pack import pack
from tests.lab.ssh_server import SshServer, key, ssh_server

pytestmark = [pytest.mark.lab, pytest.mark.needs("ssh", "sshd")]
KEY = b"a-key-that-only-this-run-has"
B = Peer("10.66.0.2", "b")
AS_NOBODY = "PATH=/usr/bin:/bin exec setpriv --reuid=65534 --clear-groups --bounding-set=-all --inh-caps=-all sh -c"
_serial = count()


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """Two hosts on one link, a with 10.66.0.1 and b with 10.66.0.2; their namespaces."""
    mark = f"pfssh{os.getpid() % 100000}{next(_serial)}"
    a, b = f"{mark}a", f"{mark}b"
    lines = [f"netns add {a}", f"netns add {b}", f"-n {a} link add way type veth peer name way netns {b}"]
    for name, host in ((a, 1), (b, 2)):
        lines += [f"-n {name} address add 10.66.0.{host}/24 dev way"]
        lines += [f"-n {name} link set {link} up" for link in ("lo", "way")]
    try:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)
        yield a, b
    finally:
        for name in (a, b):
            subprocess.run(["ip", "netns", "del", name], check=False)


def means(server: SshServer) -> Means:
    """What the node starts responders with."""
    return Means(str(server.config), pack(), KEY, 862, 60.0)


def refused(node: str, server: SshServer, peer: Peer = B) -> str:
    """Why no responder starts."""

    async def run() -> str:
        found = await borrow(peer, means(server))
        if isinstance(found, Refused):
            return found.why
        await found.end()
        return f"listens on {found.ready.port}"

    with inside(node):
        return asyncio.run(run())


def processes(namespace: str) -> list[int]:
    """Those in a namespace that are not sshd's."""
    said = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=True).stdout
    found = []
    for word in said.split():
        try:
            name = Path(f"/proc/{word}/comm").read_text()
        except OSError:  # it has just gone
            continue
        if not name.startswith("sshd"):
            found.append(int(word))
    return found


def in_arguments_or_environment(secret: bytes) -> list[str]:
    """The processes of this machine that show a secret to others."""
    places = [process / name for process in Path("/proc").glob("[0-9]*") for name in ("cmdline", "environ")]
    return [str(place) for place in places if any(form in _content(place) for form in (secret, secret.hex().encode()))]


def _content(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError:  # the process has just gone
        return b""


def files_of(process: int) -> set[str]:
    """The files that a process has open, without devices, sockets, and memory without a name."""
    opened = set()
    for each in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.add(str(each.readlink()))
    return {each for each in opened if each.startswith("/") and not each.startswith(("/dev/", "/memfd:", "/proc/"))}


def test_nothing_is_left_there(pair: tuple[str, str], tmp_path: Path) -> None:
    """While it listens, no file of that host is open and the key is in no argument; then no process is there."""
    a, b = pair

    async def run(server: SshServer) -> None:
        found = await borrow(B, means(server))
        assert isinstance(found, Borrowed), found
        assert in_arguments_or_environment(KEY) == []
        (responder,) = processes(b)
        assert files_of(responder) == set()
        assert await found.end()

    with ssh_server(b, tmp_path / "ssh") as server:
        with inside(a):
            asyncio.run(run(server))
        assert processes(b) == []


def test_a_killed_run_leaves_nothing_either(pair: tuple[str, str], tmp_path: Path) -> None:
    """SIGKILL gives it no time to clean up: the end of the connection ends the responder."""
    a, b = pair
    words = ["run", "udp.nat-timeout", "--tag", "slow", "--via", "ssh", "--peer", "10.66.0.2=b", "-q"]
    (tmp_path / "preflight.yaml").write_text("overlay: {interface: way}\n")
    with ssh_server(b, tmp_path / "ssh") as server:
        command = [sys.executable, "-m", "preflight", *words, "--ssh-config", str(server.config)]
        with inside(a):
            run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: listens(b))
        run.send_signal(signal.SIGKILL)
        run.wait(timeout=30)
        until(lambda: not processes(b))


def listens(namespace: str) -> bool:
    """Whether something has the responder's port there."""
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((B.address, B.responder_port))
        except OSError:
            return True
    return False


def until(happens: Callable[[], bool]) -> None:
    """Wait for it; fail after a while."""
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_keeps_ssh_from_a_peer(pair: tuple[str, str], tmp_path: Path) -> None:
    """One clause each, from the messages of the real ssh and of the host there; nothing is asked, nothing hangs."""
    a, b = pair
    with ssh_server(b, tmp_path / "ssh") as server:
        known, allowed = server.known_hosts.read_text(), (server.folder / "authorized").read_text()
        assert refused(a, server) == "listens on 862"
        elsewhere = refused(a, server, Peer("10.66.0.9", "b"))
        assert elsewhere == "the host that ssh reaches does not have the address 10.66.0.9"
        with inside(b), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind((B.address, 862))
            assert refused(a, server).startswith("UDP port 862 is in use there")
        server.known_hosts.write_text("")
        assert refused(a, server) == "its host key is not known here"
        server.known_hosts.write_text(f"10.66.0.2 {key(tmp_path / 'other')}")
        assert refused(a, server) == "its host key is not the one that known_hosts has"
        server.known_hosts.write_text(known)
        (server.folder / "authorized").write_text("")
        assert refused(a, server) == "it accepts no key of this user (publickey)"
        (server.folder / "authorized").write_text(allowed)
        # Not a host of the configuration and not a name: its address is asked, where this user's name has no key.
        assert refused(a, server, Peer("10.66.0.3", "nowhere.invalid")).startswith("there is no way to its SSH port")
        assert refused(a, server, Peer("10.66.0.2", "-oProxyCommand=id")).startswith("its name begins with a hyphen")
    assert refused(a, server) == "its SSH port refused the connection"


def old_python(folder: Path) -> str:
    """A folder with a python3 that calls itself 3.6."""
    folder.mkdir()
    patched = "import sys; sys.version_info=(3,6,9); sys.version='3.6.9 (old)'; exec(sys.argv[1])"
    (folder / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S -c "{patched}" "$4"\n')
    (folder / "python3").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ({"path": "/nowhere"}, "it has no python3"),
        ({"path": "OLD:/usr/bin:/bin"}, "its python3 is 3.6.9, and the responder needs 3.9 or newer"),
        ({"first": "echo Welcome; echo to all >&2; "}, "listens on 862"),
        ({"Banner": "/etc/passwd"}, "listens on 862"),
    ],
)
def test_what_the_host_there_is_like(pair: tuple[str, str], tmp_path: Path, there: dict[str, str], why: str) -> None:
    """A Python that is missing or old is one clause; what a login prints changes nothing."""
    a, b = pair
    old = old_python(tmp_path / "old")
    options = {name: value.replace("OLD", old) for name, value in there.items()}
    with ssh_server(b, tmp_path / "ssh", **options) as server:
        assert refused(a, server) == why


def test_a_user_who_may_not_open_the_port(pair: tuple[str, str], tmp_path: Path) -> None:
    """Then the kernel chooses one, and the run asks there."""
    a, b = pair
    with ssh_server(b, tmp_path / "ssh", ForceCommand=f'{AS_NOBODY} "$SSH_ORIGINAL_COMMAND"') as server:
        port = int(refused(a, server).removeprefix("listens on "))
        assert port >= 1024


@pytest.mark.parametrize("scenario", ["pair", "black-hole-forward"])
def test_both_directions_of_a_fresh_pair(network: Callable[[str], Network], tmp_path: Path, scenario: str) -> None:
    """The peer has sshd and Python. Also where large packets vanish on the way that ssh itself takes."""
    made = network(scenario)
    a, b = made.names.namespace("a"), made.names.namespace("b")
    words = ["run", "mtu.path", "--via", "ssh", "--peer", "10.66.0.2=b", "-q", "--output", "json"]
    with ssh_server(b, tmp_path / "ssh") as server:
        before = processes(b)
        command = [sys.executable, "-m", "preflight", *words, "--ssh-config", str(server.config)]
        with inside(a):
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        assert processes(b) == before
    results = {(each["check"], each["direction"]): each for each in json.loads(done.stdout)["results"]}
    assert results["run.via-ssh", "local"]["status"] == "pass", results["run.via-ssh", "local"]["message"]
    assert [results["reach.udp", way]["status"] for way in ("forward", "reverse")] == ["pass", "pass"]
    black_hole = scenario != "pair"
    assert results["mtu.path", "forward"]["code"] == ("mtu.black-hole" if black_hole else None)
    assert results["mtu.path", "reverse"]["status"] == "pass"
