"""Nebula's host map through its real sshd, and a daemon that runs with a certificate of an unknown authority."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from preflight_checks.overlay_policy import overlay_policy
from preflight_checks.overlay_session import overlay_session

from preflight.api import Check, Context, Facts, Peer, Result, Status
from preflight.model.facts import AnswerFacts, EchoFacts
from preflight.model.overlay import OverlayState
from preflight.net import Net
from preflight.overlay import local, nebula
from preflight.overlay.read import read_overlay
from preflight.proto.tunnel.endpoint_turns import Seen, renewals, turns
from preflight.settings.first_file import Found, initial_settings
from preflight.settings.load import Settings
from preflight.settings.peers import overlay_peers
from preflight.settings.schema import OverlaySettings, read_config
from tests.overlay.conftest import Node, Pair, sh

pytestmark = [pytest.mark.lab, pytest.mark.needs("ssh")]
ALL = [{"port": "any", "proto": "any", "host": "any"}]
SETTINGS = Settings(peers=(Peer("10.99.0.2", "b"),), overlay=OverlaySettings(interface="neb0"))
SENDS = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
    while True:
        sock.sendto(b"", (sys.argv[2], 9))
        time.sleep(0.3)
"""


class Network:
    """Certificates, keys and daemons of one test; a's configuration is where the reader looks for it."""

    def __init__(self, folder: Path, wire: Pair, stack: ExitStack) -> None:
        self.folder, self.wire, self.stack = folder, wire, stack
        for name in ("ca", "other"):
            sh("nebula-cert", "ca", "-name", name, *self._pair(name))
        signer = ["-ca-crt", str(folder / "ca.crt"), "-ca-key", str(folder / "ca.key")]
        for name, node in (("a", wire.a), ("b", wire.b)):
            sh("nebula-cert", "sign", "-name", name, "-ip", f"{node.overlay}/24", *signer, *self._pair(name))
        for key in ("host", "user", "stranger"):
            sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))

    def _pair(self, name: str) -> Sequence[str]:
        return "-out-crt", str(self.folder / f"{name}.crt"), "-out-key", str(self.folder / f"{name}.key")

    def sign_again(self, name: str, authority: str, *more: str) -> None:
        """Another certificate for a node."""
        for suffix in ("crt", "key"):
            (self.folder / f"{name}.{suffix}").unlink()
        node = {"a": self.wire.a, "b": self.wire.b}[name]
        signer = ["-ca-crt", self._file(f"{authority}.crt"), "-ca-key", self._file(f"{authority}.key"), *more]
        sh("nebula-cert", "sign", "-name", name, "-ip", f"{node.overlay}/24", *signer, *self._pair(name))

    def start(self, node: Node, authorities: str = "ca.crt", **more: Any) -> None:
        """A daemon of a node, once it serves; b is the lighthouse of both. more: other parts of its configuration."""
        own = node is self.wire.a
        name = "a" if own else "b"
        user = (self.folder / "user.pub").read_text().strip()
        config: dict[str, Any] = {
            "pki": {"ca": self._file(authorities), "cert": self._file(f"{name}.crt"), "key": self._file(f"{name}.key")},
            "static_host_map": {"10.99.0.2": ["10.203.1.2:4242"]} if own else {"10.99.0.1": ["10.203.1.1:4242"]},
            "lighthouse": {"am_lighthouse": not own, "hosts": ["10.99.0.2"] if own else []},
            "listen": {"host": node.underlay, "port": 4242},
            "tun": {"dev": "neb0"},
            "firewall": {"outbound": ALL, "inbound": ALL},
            "sshd": {
                "enabled": True,
                "listen": "127.0.0.1:2222",
                "host_key": self._file("host"),
                "authorized_users": [{"user": "preflight", "keys": [user]}],
            },
            **more,
        }
        ready = "SSH server is listening" if config["sshd"]["enabled"] else "Nebula interface is active"
        self._start(node, name, config, ready)

    def _start(self, node: Node, name: str, config: Mapping[str, Any], ready: str) -> None:
        path = self.folder / name / "config.yml"
        path.parent.mkdir()
        path.write_text(yaml.safe_dump(config))
        log = path.with_name("log")
        argv = ["ip", "netns", "exec", node.namespace, "nebula", "-config", str(path)]
        with log.open("wb") as said:
            daemon = subprocess.Popen(argv, stdout=said, stderr=said)
        self.stack.callback(daemon.wait)
        self.stack.callback(daemon.terminate)
        until = time.monotonic() + 20
        while ready not in log.read_text():
            assert daemon.poll() is None, log.read_text()
            assert time.monotonic() < until, "nebula did not start"
            time.sleep(0.02)

    def start_copy(self, name: str) -> None:
        """A second machine with a node's certificate and key, on its host; it calls the other one by another port."""
        node, other = (self.wire.a, self.wire.b) if name == "a" else (self.wire.b, self.wire.a)
        config = {
            "pki": {"ca": self._file("ca.crt"), "cert": self._file(f"{name}.crt"), "key": self._file(f"{name}.key")},
            "static_host_map": {other.overlay: [f"{other.underlay}:4242"]},
            "lighthouse": {"am_lighthouse": False, "hosts": []},
            "listen": {"host": node.underlay, "port": 4243},
            "tun": {"dev": "neb1"},
            "firewall": {"outbound": ALL, "inbound": ALL},
        }
        self._start(node, "copy", config, "Nebula interface is active")

    def forget_a(self) -> None:
        """b forgets its tunnel to a, as it does where nothing comes back in it; its next packet makes another one."""
        where = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", "2222"]
        words = ["preflight@127.0.0.1", "close-tunnel", "-local-only", "10.99.0.1"]
        subprocess.run(
            ["ip", "netns", "exec", self.wire.b.namespace, "ssh", "-o", "BatchMode=yes", *where, *words],
            check=True,
            capture_output=True,
        )

    def send(self, node: Node, device: str, to: str) -> None:
        """Go on sending through a device of a node."""
        argv = ["ip", "netns", "exec", node.namespace, sys.executable, "-c", SENDS, device, to]
        sending = subprocess.Popen(argv)
        self.stack.callback(sending.wait)
        self.stack.callback(sending.kill)

    def _file(self, name: str) -> str:
        return str(self.folder / name)

    def read(self) -> OverlayState:
        """The state on a."""
        with self.wire.a.inside():
            state = asyncio.run(read_overlay(SETTINGS.overlay))
        assert state is not None
        return state

    def session(self) -> Result:
        """What overlay.session says on a of b."""

        return self._run(overlay_session)

    def policy(self, settings: Settings = SETTINGS) -> Result:
        """What overlay.policy says on a of the peer, if it has answered nothing in the run."""
        facts = (EchoFacts(sent=4, received=0), AnswerFacts(sent=3, answered=0))
        return self._run(overlay_policy, *facts, settings=settings)

    def _run(self, check: Check, *facts: Facts, settings: Settings = SETTINGS) -> Result:
        async def run() -> Result:
            net = Net(settings)
            try:
                said = {peer.target: facts for peer in settings.peers}
                context = Context(settings, settings.peers, await net.overlay(), net, said)
                results: list[Result] = [result async for result in check.function(context)]
                return results[0]
            finally:
                await net.control.aclose()

        with self.wire.a.inside():
            return asyncio.run(run())


@pytest.fixture
def network(wire: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """Nothing runs yet; the user's key is in an agent, as an operator has it."""
    monkeypatch.setattr(nebula, "FOLDER", tmp_path / "a")
    monkeypatch.setattr(local, "TIMEOUT_S", 30.0)  # a busy machine is no fault of the daemon
    with ExitStack() as stack:
        made = Network(tmp_path, wire, stack)
        socket = f"/tmp/{wire.a.interface}.agent"  # short: a socket's path may have 107 bytes
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
        stack.callback(agent.wait)
        stack.callback(agent.terminate)
        until = time.monotonic() + 20
        while not Path(socket).exists():
            assert time.monotonic() < until, "ssh-agent did not start"
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        add(tmp_path / "user")
        yield made


def add(key: Path) -> None:
    """Leave one key, and no other, in the agent."""
    for words in (["-D"], [str(key)]):
        subprocess.run(["ssh-add", "-q", *words], check=True, env=dict(os.environ), stderr=subprocess.DEVNULL)


def test_the_host_map_of_a_running_daemon(network: Network) -> None:
    """Tunnel, endpoint, lighthouse and certificate, read through the daemon's own sshd."""
    network.start(network.wire.b)
    network.start(network.wire.a)
    until = time.monotonic() + 20
    while not (state := network.read()).peers or state.peers[0].endpoint is None:
        assert time.monotonic() < until, state
    assert (state.product, state.up, state.condition, state.unreadable) == ("nebula", True, None, None)
    assert (state.peers[0].key, state.peers[0].endpoint, state.complaints) == ("10.99.0.2", "10.203.1.2:4242", ())
    assert state.key_expires_unix_s is not None
    result = network.session()
    assert (result.status, result.message) == (Status.PASS, "nebula knows b: direct to 10.203.1.2:4242")


@pytest.mark.parametrize("shown", [True, False])
def test_what_init_writes(network: Network, shown: bool) -> None:
    """The member that the host map has, or where the sshd is off that the log and the configuration have."""
    network.start(network.wire.b)
    more: dict[str, Any] = {} if shown else {"sshd": {"enabled": False}}
    network.start(network.wire.a, **more)
    network.send(network.wire.a, "neb0", "10.99.0.2")
    until = time.monotonic() + 20
    while not (state := network.read()).peers or state.peers[0].endpoint is None:
        assert time.monotonic() < until, state
    assert state.lists_sessions is shown
    path = network.folder / "preflight.yaml"
    path.write_text(initial_settings(Found("a", state, overlay_peers((), state))), encoding="utf-8")
    settings = read_config(path)
    assert settings.overlay.interface == "neb0"
    assert [each.address for each in settings.peers] == ["10.99.0.2"]


def test_without_lighthouse_the_session_is_waited_for_and_not_called_dead(network: Network) -> None:
    """The lighthouse is silent; whether the peer can be reached stays to be measured."""
    network.start(network.wire.a)
    state = network.read()
    assert (state.condition, state.health) == (None, ())
    (complaint,) = state.complaints
    assert complaint.said.startswith("there is no tunnel to the lighthouse 10.99.0.2")
    result = network.session()
    assert (result.status, str(result.code)) == (Status.SKIP, "run.not-applicable")
    assert "only a measurement shows whether it can be reached" in result.message


def test_a_daemon_with_a_foreign_certificate_runs_and_is_found_out(network: Network) -> None:
    """Nebula starts with a certificate of another authority than its own list's; only peers would refuse it."""
    (network.folder / "other.crt").replace(network.folder / "ca.crt")
    network.start(network.wire.a)
    state = network.read()
    assert (state.up, state.condition) == (True, "overlay.not-authorized")


def test_a_key_that_the_sshd_does_not_know(network: Network) -> None:
    """A missing host map does not mean a dead one: the reason is reported, and the rest of the state stays."""
    network.start(network.wire.a)
    add(network.folder / "stranger")
    state = network.read()
    assert (state.up, state.condition, state.peers, state.health) == (True, None, (), ())
    assert state.unreadable == "nebula's sshd on 127.0.0.1:2222 refuses the login of this user"


def test_two_machines_with_one_certificate(network: Network) -> None:
    """They take the session from each other by handshakes, and a sees both places with a session of its own each."""
    network.start(network.wire.b)
    network.start(network.wire.a)
    network.start_copy("b")
    for device in ("neb0", "neb1"):
        network.send(network.wire.b, device, "10.99.0.1")
    seen: list[Seen] = []
    until = time.monotonic() + 60
    while (found := turns(seen)) is None:
        assert time.monotonic() < until, seen
        if seen and seen[-1].endpoint == "10.203.1.2:4243":
            network.forget_a()
        seen += [Seen(each.endpoint, each.session) for each in network.read().peers if each.key == "10.99.0.2"]
    assert set(found.places) == {"10.203.1.2:4242", "10.203.1.2:4243"}
    assert found.changes == 2


def test_another_machine_with_this_node_s_certificate(network: Network) -> None:
    """The peer stays where it is, and goes over to whichever of the two called last: a makes session after session."""
    network.start(network.wire.b)
    network.start(network.wire.a)
    network.start_copy("a")
    for node, device, to in ((network.wire.a, "neb0", "10.99.0.2"), (network.wire.a, "neb1", "10.99.0.2")):
        network.send(node, device, to)
    network.send(network.wire.b, "neb0", "10.99.0.1")
    seen: list[Seen] = []
    until = time.monotonic() + 60
    while (found := renewals(seen)) is None:
        assert time.monotonic() < until, seen
        seen += [Seen(each.endpoint, each.session) for each in network.read().peers if each.key == "10.99.0.2"]
    assert found.of_this_node
    assert found.places[0] == "10.203.1.2:4242"


@pytest.mark.parametrize("why", ["expired", "foreign"])
def test_a_peer_whose_certificate_is_not_accepted(network: Network, why: str) -> None:
    """This node forgets a handshake whose answer it refuses at once: its log has the reason."""
    if why == "expired":
        network.sign_again("b", "ca", "-duration", "6s")
        network.start(network.wire.b)
    else:
        network.sign_again("b", "other")
        both = "".join((network.folder / f"{name}.crt").read_text() for name in ("other", "ca"))
        (network.folder / "both.crt").write_text(both)
        network.start(network.wire.b, "both.crt")
    until = time.monotonic() + 20
    while why == "expired" and _valid(network.folder / "b.crt", network.folder / "ca.crt"):
        assert time.monotonic() < until, "the certificate does not expire"
        time.sleep(0.1)
    network.start(network.wire.a)
    result = network.policy()
    assert (result.status, str(result.code)) == (Status.FAIL, "overlay.no-handshake")
    said = {"expired": "certificate is expired", "foreign": "could not find ca for the certificate"}[why]
    assert f"nebula does not accept the handshakes of b at 10.203.1.2:4242: {said}, says its log" in result.message


def test_a_peer_that_does_not_run(network: Network) -> None:
    """Its handshake stays pending, with the place to which it is sent."""
    network.start(network.wire.a)
    result = network.policy()
    assert (result.status, str(result.code)) == (Status.FAIL, "overlay.no-handshake")
    assert "nebula sends handshakes to b at 10.203.1.2:4242 and completes none" in result.message


@pytest.mark.parametrize(("itself", "why"), [(False, "lighthouse.hosts names no"), (True, "this node is a lighthouse")])
def test_a_node_that_asks_no_lighthouse(network: Network, itself: bool, why: str) -> None:
    """The peer runs, and no lighthouse is at fault: this node's configuration names nobody who knows where it is."""
    network.start(network.wire.b)
    network.start(network.wire.a, static_host_map={}, lighthouse={"am_lighthouse": itself, "hosts": []})
    result = network.policy()
    assert (result.status, str(result.code)) == (Status.FAIL, "overlay.no-handshake")
    assert f"nebula has no address at which to reach b: {why}" in result.message


@pytest.mark.parametrize("signed", [False, True])
def test_a_network_behind_a_member_whose_certificate_lacks_it(network: Network, signed: bool) -> None:
    """The route is right on both machines, and nebula drops all of it: its host map shows the certificate."""
    if signed:
        network.sign_again("b", "ca", "-subnets", "10.97.0.0/24")
    network.start(network.wire.b)
    route = {"route": "10.97.0.0/24", "via": "10.99.0.2"}
    network.start(network.wire.a, tun={"dev": "neb0", "unsafe_routes": [route]})
    settings = Settings(peers=(Peer("10.97.0.7", "far"),), overlay=SETTINGS.overlay)
    until = time.monotonic() + 20
    while not (state := network.read()).peers or state.peers[0].endpoint is None:
        assert time.monotonic() < until, state
    result = network.policy(settings)
    said = "lead 10.97.0.7 to 10.99.0.2, whose certificate has no network behind it" in result.message
    assert (result.target, said) == ("far", not signed), result.message


def _valid(certificate: Path, authority: Path) -> bool:
    argv = ["nebula-cert", "verify", "-crt", str(certificate), "-ca", str(authority)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def test_why_a_daemon_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own test of the configuration names what a restart would not heal; the inline key is not repeated."""
    monkeypatch.setattr(nebula, "FOLDER", tmp_path)
    monkeypatch.setattr(local, "TIMEOUT_S", 30.0)
    ca, key, crt = (str(tmp_path / name) for name in ("ca.crt", "ca.key", "a.crt"))
    sh("nebula-cert", "ca", "-name", "ca", "-out-crt", ca, "-out-key", key)
    signer = ("-ca-crt", ca, "-ca-key", key)
    sh("nebula-cert", "sign", "-name", "a", "-ip", "10.99.0.1/24", *signer, "-out-crt", crt, "-out-key", f"{crt}.key")
    secret = Path(f"{crt}.key").read_text()
    pki = {"ca": ca, "cert": crt, "key": secret}
    config = {"pki": pki, "lighthouse": {"hosts": ["10.99.0.2"]}, "firewall": {"outbound": ALL, "inbound": ALL}}
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
    (state,) = asyncio.run(nebula.read([]))
    assert state.condition == "overlay.daemon-down"
    assert "lighthouse 10.99.0.2 does not have a static_host_map entry" in state.health[-1]
    assert not any(line in "".join(state.health) for line in secret.splitlines())
    config["static_host_map"] = {"10.99.0.2": ["192.0.2.2:4242"]}
    (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
    (state,) = asyncio.run(nebula.read([]))
    assert not any("nebula -test" in each for each in state.health)
