"""Healthy set-ups on which something looks unusual: a run is silent there, and sends bearers nowhere else."""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from preflight.lab import truth
from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.names import ROUTER
from preflight.lab.network import Network, inside
from preflight.lab.part import Part
from preflight.lab.processes import run
from preflight.lab.scenario_file import scenario_of
from preflight.lab.topology import CONTROL_PORT, SERVER_LANS, server_address
from preflight.programs import python_module

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

SERVER = server_address(SERVER_LANS[4])
HEALTH = b"HTTP/1.1 200 OK\r\nx-populi-feature: exec-lease-v1\r\ncontent-length: 3\r\n\r\nok\n"


def report_of(lab: Lab, *options: str) -> dict[str, Any]:
    """What `preflight all` says on node a."""
    file = lab.names.directory / "report.json"
    words = python_module("preflight", "all", *lab.preflight_arguments(), *options, "--output", f"json={file}")
    subprocess.run(lab.users_command(words), env=lab.environment(), capture_output=True, check=False)
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def bad(report: Mapping[str, Any]) -> list[str]:
    """The results that are not good, in words."""
    shown = ("fail", "warn", "error", "inconclusive")
    return [f"{each['id']}: {each['message']}" for each in report["results"] if each["status"] in shown]


@pytest.mark.parametrize(
    "values",
    [
        {"routes": "default"},
        {"routes": "per-peer", "home": "behind"},
        {"product": "openvpn", "routes": "halves"},
        {"product": "nebula", "families": "ipv4", "home": "behind", "user": "ordinary"},
        {"control": "fallback", "cluster": "announce-url"},
        {"product": "vxlan", "link_mtu": "1280", "families": "ipv4"},
    ],
    ids=lambda values: " ".join(values.values()),
)
def test_nothing_is_said_about_a_healthy_setup(values: Mapping[str, str]) -> None:
    """Protects operators of full tunnels, tunnels for each peer, networks behind members, and small links."""
    setup = Setup.of(values)
    with fresh_lab(scenario_of(Draw(setup))) as lab:
        report = report_of(lab)
    assert truth.judge((), report, silent=setup.silent()).right, bad(report)


@pytest.mark.parametrize(
    ("values", "peers"),
    [
        ({"product": "nebula", "families": "ipv4"}, "bc"),
        ({"product": "openvpn"}, "c"),
        ({"product": "openvpn", "families": "ipv6"}, "c"),
        ({"product": "vxlan"}, "bc"),
        ({"product": "vxlan", "user": "ordinary"}, "bc"),
        ({"second_vpn": "other"}, "bc"),
    ],
    ids=lambda values: " ".join(values.values()) if isinstance(values, Mapping) else values,
)
def test_what_init_writes_is_used_without_a_finding(values: Mapping[str, str], peers: str) -> None:
    """Of a healthy node it names the overlay and the peers that a run without it takes: of OpenVPN the server, of VXLAN
    those whom it has met. Only a responder at them can be missing then.
    """
    with fresh_lab(scenario_of(Draw(Setup.of({"control": "none", **values})))) as lab:
        written, file = lab.names.files("a") / "init.yaml", lab.names.directory / "report.json"
        found: list[Mapping[str, Any]] = []
        argv = lab.users_command(python_module("preflight", "init", "--file", str(written)))
        subprocess.run(argv, env=lab.environment(), capture_output=True, check=False)
        for options in ((str(written),), (BARE, "--only", "overlay.interface")):
            words = ("all", "--config", *options, "--output", f"json={file}")
            argv = lab.users_command(python_module("preflight", *words))
            subprocess.run(argv, env=lab.environment(), capture_output=True, check=False)
            found.append(json.loads(file.read_text(encoding="utf-8")))
        assert f"interface: {lab.names.tunnel('a')}" in written.read_text(encoding="utf-8")
        assert lab.network is not None
        plan = lab.network.plan
        wanted = {plan.address(node, plan.families[0]) for node in peers}
    for report in found:
        assert {each["address"] for each in report["run"]["peers"]} == wanted
        failed = [each for each in bad(report) if not each.startswith("host.clock/")]
        assert {each["status"] for each in report["results"]} <= {"pass", "skip", "warn", "inconclusive"}, failed
        undecided = {each["code"] for each in report["results"] if each["status"] == "inconclusive"}
        assert undecided <= {"run.needs-responder", "run.needs-privilege"}, failed


BARE = "/dev/null"
"""A settings file that says nothing."""


@pytest.mark.parametrize("options", [(), ("--skip", "control.*")], ids=["all", "without control"])
def test_an_overlay_without_control_plane(options: tuple[str, ...]) -> None:
    """Its checks, those of enrolment and those of posture do not apply, and the run is good."""
    with fresh_lab(scenario_of(Draw(Setup.of({"control": "none"})))) as lab:
        report = report_of(lab, *options)
    assert (report["run"]["exit_code"], bad(report)) == (0, [])
    about = [each for each in report["results"] if each["target"] == "control"]
    assert {each["status"] for each in about} == {"skip"}


class Stranger:
    """A host outside the overlay that has the control host's address: it answers, and keeps what it is sent."""

    def __init__(self, namespace: str) -> None:
        self.got: list[bytes] = []
        with inside(namespace):
            self._listening = socket.create_server((SERVER, CONTROL_PORT))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):  # a client may have left before its answer
                self.got.append(connection.recv(65536))
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nx-populi-feature: exec-lease-v1\r\ncontent-length: 3\r\n\r\nok\n"
                )

    def close(self) -> None:
        """No longer listen."""
        self._listening.shutdown(socket.SHUT_RDWR)  # ends the waiting in the thread, which closing alone does not
        self._listening.close()


@contextmanager
def stranger_in_the_way(network: Network) -> Iterator[Stranger]:
    """The router has the control host's address."""
    namespace = network.names.namespace(ROUTER)
    run(network.command(ROUTER, "ip", "address", "add", f"{SERVER}/32", "dev", "lo"))
    stranger = Stranger(namespace)
    try:
        yield stranger
    finally:
        stranger.close()


def _forget(network: Network) -> None:
    """a's kernel takes no routes to the network behind c, although c has it."""
    run(network.command("a", "ip", "route", "del", SERVER_LANS[4]))


@pytest.mark.parametrize("options", [(), ("--skip", "control.url")], ids=["all", "without control.url"])
def test_a_stranger_with_the_address_gets_no_bearer(options: tuple[str, ...]) -> None:
    """Protects the bearer: a member has the network, this node's kernel sends to a host of its LAN that answers."""
    scenario = scenario_of(Draw(Setup.of({"routes": "host", "home": "behind"})))
    forgotten = Part("a forgets the way to the network behind c", tunnels=_forget)
    with fresh_lab(replace(scenario, faults=(*scenario.faults, forgotten))) as lab:
        assert lab.network is not None
        with stranger_in_the_way(lab.network) as stranger:
            report = report_of(lab, *options)
    assert not any(b"authorization" in request.lower() for request in stranger.got)
    assert report["run"]["exit_code"] == 1
    if not options:
        assert [(cause["code"], cause["target"]) for cause in report["diagnosis"]] == [
            ("overlay.route-leak", "control")
        ]
