"""The programs and files of one lab: settings and secrets, b's responder, the control plane, the name servers."""

import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import yaml

from preflight.lab import name_servers, processes, settings, users
from preflight.lab.blueprint import BACKEND_PORT, Blueprint, Kind, Places
from preflight.lab.caddy import CADDY
from preflight.lab.cluster import register
from preflight.lab.front import Front, GatewayName, Stand
from preflight.lab.gateways import Gateway, Running
from preflight.lab.haproxy import HAPROXY
from preflight.lab.names import LabError, LabNames
from preflight.lab.network import inside
from preflight.lab.nginx import NGINX
from preflight.lab.processes import Daemon
from preflight.lab.settings import LabSecrets
from preflight.lab.signals import give_way
from preflight.model.host_port import bracketed, join_host_port
from preflight.programs import python_module

CONTROL = "control"
RESPONDER = "responder"
_MESH_RATE = 100_000
"""Packets a second from one source."""
DATABASE = "control.db"
PACKAGES = "packages"
_TWO_LIVES = '"$@" --fault crash; exec "$@"'
_FAKE_SERVERS = "preflight.lab.fake_servers"
FRONT = "front"
_RELAYS = "preflight.lab.relays"
_LOOPBACK = "127.0.0.1"
_GATEWAYS: Mapping[GatewayName, Gateway] = {"nginx": NGINX, "caddy": CADDY, "haproxy": HAPROXY}


@dataclass(frozen=True, slots=True)
class Site:
    """The inputs of a lab's programs and files."""

    names: LabNames
    plan: Blueprint
    kind: Kind
    places: Places

    def command(self, node: str, words: list[str]) -> list[str]:
        """The command line that runs a program in a node, with the node's resolv.conf and hosts."""
        if self.kind == "loopback":
            return words
        return [processes.program("ip"), "netns", "exec", self.names.namespace(node), *words]

    def within(self, node: str) -> AbstractContextManager[None]:
        """Run the body with the calling thread in a node's network."""
        if self.kind == "loopback":
            return nullcontext()

        return inside(self.names.namespace(node))

    def write_files(self) -> None:
        """Settings and secrets of every party. Only the lab's owner can enter the directories."""
        secrets = LabSecrets.fresh()
        for owner in (*self.plan.topology.members, CONTROL):
            self.names.files(owner).mkdir(mode=0o700, exist_ok=True)
        node, peer, control = (self.names.files(owner) for owner in ("a", "b", CONTROL))
        write_private(node / "token", secrets.bearer(self.plan.bearer))
        write_private(peer / "token", secrets.mesh)
        write_private(control / "mesh-token", secrets.mesh)
        write_private(control / "submitter-token", secrets.submitter)
        write_private(control / "worker-token", secrets.worker)
        write_private(control / "jwt-secret", secrets.jwt)
        for holder in (node, peer):
            write_private(holder / "responder.key", secrets.responder_key)
        _write_settings(node, settings.node_settings(self.plan, self.places, self.kind, self.names.tunnel("a")))
        _write_settings(peer, settings.responder_settings(self.plan, self.places, self.kind, self.names.tunnel("b")))
        _write_settings(control, settings.control_plane_settings(self.plan))
        if self.plan.certificate is not None:
            from preflight.lab.certificates import write_certificates

            places = (self.places.control, self.places.underlay)
            write_certificates(self.plan.certificate, control, (node, peer, control), *places)
        if self.plan.committed:
            commit_compose_file(node, secrets.mesh)
        if self.plan.plugin:
            install_broken_plugin(node / PACKAGES)
        self.new_bootstrap_token()

    def write_etc(self) -> None:
        """a's own files in /etc: whom its programs ask for names."""
        name_servers.write_etc(self.names, self.plan, self.places)

    def node_variables(self) -> dict[str, str]:
        """The tokens and URLs in a's environment, and an extra folder of packages for a's Python."""
        folder = self.names.files("a")
        named = self.plan.node_environment.items()
        tokens = {name: (folder / file).read_text(encoding="utf-8").strip() for name, file in named}
        urls = {name: self.places.url(url) for name, url in self.plan.url_variables.items()}
        return tokens | urls | ({"PYTHONPATH": str(folder / PACKAGES)} if self.plan.plugin else {})

    def new_bootstrap_token(self) -> None:
        """Write a one-time token for a and for the control plane, which reads it when it starts."""
        token = LabSecrets.fresh().mesh
        given = "a-token-that-nobody-made" if self.plan.bootstrap == "invalid" else token
        (self.names.files("a") / "credentials").unlink(missing_ok=True)
        write_private(self.names.files(CONTROL) / "bootstrap-token", token)
        write_private(self.names.files("a") / "bootstrap-token", given)
        users.hand_over(self.plan, self.names)

    def start_daemons(self) -> list[Callable[[float], None]]:
        """Start all programs in parallel; call the returned function, with a deadline, to wait until each is ready."""
        waiting = name_servers.start(self.names, self.plan, self.places, self.command)
        waiting.append(self.start_control_plane())
        words = [*python_module("preflight", "responder"), *settings.responder_binds(self.plan, self.places)]
        words += ["--config", str(self.names.files("b") / "preflight.yaml")]
        if self.plan.responder_key:
            words += ["--key-file", str(self.names.files("b") / "responder.key")]
        if self.plan.mesh_peers:  # one responder represents many, so one node sends it the packets for all of them
            words += ["--max-rate", str(_MESH_RATE)]
        waiting.append(self._start(RESPONDER, "b", words, len(self.places.peers) if self.plan.responder else 0))
        return waiting

    def start_control_plane(self) -> Callable[[float], None]:
        """Start the server that the plan puts at the control plane's address."""
        register(self.names.files(CONTROL) / DATABASE, self.plan.registered)
        sockets = 0 if self.plan.server == "absent" else 1
        serving = self._start(CONTROL, self.plan.control_host, self._server_words(), sockets)
        if self.plan.front is None:
            return serving
        fronting = self._start_front(self.plan.front)

        def wait(deadline: float) -> None:
            serving(deadline)
            fronting(deadline)

        return wait

    def _start_front(self, front: Front) -> Callable[[float], None]:
        """Start what is at the control plane's address, in front of it."""
        files, node = self.names.files(CONTROL), self.plan.control_host
        bind = join_host_port(self.places.control, self.places.control_port)
        backend = join_host_port(_LOOPBACK, BACKEND_PORT)
        if front.relay:
            words = [front.relay, bind, backend, *([str(files)] if self.plan.secure else [])]
            return self._start(FRONT, node, python_module(_RELAYS, *words), 1)
        stand = Stand(bracketed(self.places.control), self.places.control_port, backend, files, self.plan.secure)
        gateway = _GATEWAYS[self.plan.gate]
        running = Running(gateway, FRONT, files, self.names.mark(FRONT), lambda words: self.command(node, list(words)))
        return running.start(gateway.servers(front, stand))

    def restart_control_plane(self, deadline: float) -> None:
        """Stop the control plane and restart it with its database."""
        marks = {self.names.mark(name) for name in (CONTROL, FRONT)}
        processes.end(lambda pid: processes.mark_of(pid) in marks, grace=3.0)
        for log in (self.log(CONTROL), self.log(FRONT), self.names.files(CONTROL) / f"{FRONT}.log"):
            log.unlink(missing_ok=True)
        self.start_control_plane()(deadline)
        self.spend_bootstrap_token()

    def spend_bootstrap_token(self) -> None:
        """Use the one-time token first, if the plan says that it is spent."""
        if self.plan.bootstrap != "spent":
            return
        token = (self.names.files("a") / "bootstrap-token").read_text(encoding="ascii").strip()
        with self.within("a"):
            status = _exchange(self.places, self.plan, token)
        if status != HTTPStatus.OK:
            raise LabError(f"the lab's control plane answered {status} to the exchange of its own token")

    def log(self, daemon: str) -> Path:
        """The file with a daemon's output."""
        return self.names.directory / f"{daemon}.log"

    def _start(self, name: str, node: str, words: list[str], sockets: int) -> Callable[[float], None]:
        if sockets == 0:
            return lambda deadline: None
        daemon = processes.start(name, self.command(node, words), mark=self.names.mark(name), log=self.log(name))
        return partial(_wait_listening, daemon, sockets)

    def _everywhere(self) -> str:
        """All addresses of the control host; those of IPv6 hold those of IPv4 too."""
        six = ":" in f"{self.places.control}{self.places.underlay}"
        return "::" if six else "0.0.0.0"  # noqa: S104 - it is the fault

    def _server_words(self) -> list[str]:
        host = self._everywhere() if self.plan.server_listens_on_all else self.places.control
        bind = join_host_port(host, self.places.control_port)
        if self.plan.front is not None:
            bind = join_host_port(_LOOPBACK, BACKEND_PORT)
        if self.plan.server != "bundled":
            return python_module(_FAKE_SERVERS, self.plan.server, bind)
        files = self.names.files(CONTROL)
        words = python_module("preflight", "control-plane", "serve", "--bind", bind, "--db", str(files / DATABASE))
        words += ["--config", str(files / "preflight.yaml")]
        if self.plan.secure and self.plan.front is None:
            words += ["--tls-cert", str(files / "tls.pem"), "--tls-key", str(files / "tls.key")]
        words += self.plan.server_options
        return [processes.program("sh"), "-c", _TWO_LIVES, "sh", *words] if self.plan.server_dies else words


def _exchange(places: Places, plan: Blueprint, token: str) -> int:
    connection = HTTPConnection(places.control, places.control_port, timeout=5.0)
    if plan.secure:
        trusting = ssl._create_unverified_context()  # noqa: S323 - the lab's own server, whatever its certificate is
        connection = HTTPSConnection(places.control, places.control_port, timeout=5.0, context=trusting)
    body = json.dumps({"bootstrap_token": token})
    try:
        path = f"{plan.path}/v1/populi/bootstrap/exchange"
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise LabError(f"the lab's control plane does not answer: {error}") from None
    finally:
        connection.close()


def _wait_listening(daemon: Daemon, sockets: int, deadline: float) -> None:
    processes.wait_for_words(daemon, "listening on ", sockets, deadline)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")


def commit_compose_file(folder: Path, token: str) -> None:
    """Make a git repository of the folder, whose only commit is a compose file with the token."""
    compose = {"services": {"worker": {"image": "vox", "environment": {"VOX_MESH_TOKEN": token}}}}
    write_private(folder / "docker-compose.yml", yaml.safe_dump(compose))
    git = [processes.program("git"), "-C", str(folder), "-c", "user.name=lab", "-c", "user.email=lab@lab.invalid"]
    for words in (["init", "-q"], ["add", "docker-compose.yml"], ["commit", "-q", "-m", "Deploy the worker"]):
        processes.run([*git, *words])


def install_broken_plugin(folder: Path) -> None:
    """Put a package of checks into a folder that fails to import, as after an interrupted upgrade."""
    about = folder / "lab_plugin-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "lab_plugin.py").write_text("from lab_plugin_base import check\n", encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-plugin\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[preflight.checks]\nlab = lab_plugin\n", encoding="utf-8")


def _write_settings(directory: Path, settings: dict[str, Any]) -> None:
    write_private(directory / "preflight.yaml", yaml.safe_dump(settings, sort_keys=False))


def free_port(address: str, kind: socket.SocketKind) -> int:
    """A free port at an address of this machine."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_answer(address: str, port: int, deadline: float) -> None:
    """Return when any answer comes from `address`; a refused TCP connection is enough.

    Raises LabError at the deadline (time.monotonic()'s clock).
    """
    while (left := deadline - time.monotonic()) > 0:
        give_way()
        try:
            socket.create_connection((address, port), timeout=min(left, 1.0)).close()
        except ConnectionRefusedError:
            return
        except OSError:
            time.sleep(0.02)  # an immediate refusal by the kernel must not cause a busy loop
            continue
        return
    raise LabError(f"nothing comes back from {address} through the lab's tunnel")
