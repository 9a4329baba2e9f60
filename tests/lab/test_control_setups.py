"""Set-ups of the control plane and of b's responder: a really finds it by what the set-up says, and by nothing else."""

import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager

import pytest
import yaml

from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.name_servers import resolv_conf
from preflight.lab.network import inside
from preflight.lab.probe import arrivals
from preflight.lab.processes import program, run
from preflight.lab.scenario_file import scenario_of
from preflight.lab.site import wait_for_answer
from preflight.lab.topology import CONTROL_NAME, CONTROL_PORT, overlay_address
from preflight.model.peer import RESPONDER_PORT
from preflight.programs import python_module

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]

ASK = """
import os, ssl, sys, urllib.request
url, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca) if ca else None
print(urllib.request.urlopen(url + "/health", context=context, timeout=10).read().decode())
"""


def lab_of(**values: str) -> AbstractContextManager[Lab]:
    """A lab of a healthy set-up."""
    return fresh_lab(scenario_of(Draw(Setup.of(values))))


def settings(lab: Lab, node: str = "a") -> dict[str, dict[str, str]]:
    """A node's settings file."""
    found = yaml.safe_load((lab.names.files(node) / "preflight.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def asked(lab: Lab, url: str) -> str:
    """What a gets from the control plane's health route, with Python's own client and the system's resolver."""
    ca = str(lab.names.files("a") / "ca.pem") if url.startswith("https") else ""
    words = lab.command([*python_module("this")[:1], "-c", ASK, url, ca])
    return subprocess.run(words, env=lab.environment(), capture_output=True, text=True, check=False).stdout.strip()


FOUND_BY: Mapping[str, str] = {
    "hosts": f"http://{CONTROL_NAME}:{CONTROL_PORT}",
    "dns": f"http://{CONTROL_NAME}:{CONTROL_PORT}",
    "search": f"http://control:{CONTROL_PORT}",
}


@pytest.mark.parametrize("transport", ["plain", "tls"])
@pytest.mark.parametrize("control", FOUND_BY)
def test_a_finds_it_by_name(control: str, transport: str) -> None:
    """Protects healthy draws with names: the URL in a's settings leads to a healthy control plane, also over TLS."""
    with lab_of(control=control, transport=transport) as lab:
        url = settings(lab)["control"]["url"]
        assert url == FOUND_BY[control].replace("http", "https" if transport == "tls" else "http")
        assert asked(lab, url) == "ok"


@pytest.mark.parametrize("control", ["address", "search"])
def test_nginx_takes_the_prefix_away(control: str) -> None:
    """Protects `prefix`: the control plane is below the path in a's URL and nowhere else, for a and for b."""
    with lab_of(control=control, transport="prefix") as lab:
        url = settings(lab)["control"]["url"]
        assert url.startswith("https://")
        assert url.endswith("/mesh")
        assert asked(lab, url) == "ok"
        assert asked(lab, url.removesuffix("/mesh")) == ""
        assert settings(lab, "b")["control"]["url"].endswith("/mesh")


@pytest.mark.parametrize(("families", "address"), [("both", "192.168.77.2"), ("ipv6", "[fdc9:0:0:88::2]")])
def test_c_forwards_to_the_control_host(families: str, address: str) -> None:
    """Protects `behind`: the control host is not a member, and what a sends to it goes into the tunnel."""
    with lab_of(home="behind", families=families) as lab:
        url = f"http://{address}:{CONTROL_PORT}"
        assert settings(lab)["control"]["url"] == url
        assert asked(lab, url) == "ok"
        assert "s" in lab.state.parts.namespaces
        assert "s" not in lab.state.parts.tunnels
        words = lab.command([program("ip"), "route", "get", address.strip("[]")])
        assert lab.names.tunnel("a") in run(words)


def test_the_second_variable_has_the_address() -> None:
    """Protects the set-up on which real workers pass over a bind-all address."""
    with lab_of(control="fallback") as lab:
        variables = lab.environment()
        assert "url" not in settings(lab)["control"]
        assert variables["VOX_ORCHESTRATOR_MESH_CONTROL_URL"] == "http://0.0.0.0:9847"
        assert asked(lab, variables["VOX_MESH_CONTROL_ADDR"]) == "ok"


def test_nothing_speaks_of_a_control_plane() -> None:
    """Protects `none`: neither settings nor options nor the environment of a mention one, and none runs."""
    with lab_of(control="none") as lab:
        assert "control" not in settings(lab)
        assert "agent_id" not in str(settings(lab))
        assert "control" not in settings(lab, "b")
        assert lab.preflight_arguments() == ["--config", str(lab.names.files("a") / "preflight.yaml")]
        assert not [name for name in lab.environment() if name.startswith("VOX_")]
        assert "control" not in lab.state.parts.daemons


def test_a_responder_without_a_key() -> None:
    """Protects `keyless`: it runs, and neither side has a key."""
    with lab_of(responder="keyless") as lab:
        assert "key_file" not in settings(lab)["responder"]
        assert "key_file" not in settings(lab, "b")["responder"]
        assert "responder" in lab.state.parts.daemons


def test_b_lets_no_probe_in() -> None:
    """Protects `filtered`: TCP is answered, and a datagram to the responder's port finds silence."""
    with lab_of(responder="filtered") as lab:
        assert lab.network is not None
        assert arrivals(lab.network, "a", "b", port=RESPONDER_PORT) == 0
        assert arrivals(lab.network, "b", "a", port=RESPONDER_PORT) == 3
        with inside(lab.names.namespace("a")):
            wait_for_answer(overlay_address("b", 4), 1, deadline=float("inf"))


def test_resolv_conf() -> None:
    """Protects what a's C library reads: servers, search list and dots, and nothing that is the default."""
    plan = scenario_of(Draw(Setup.of({"control": "search"}))).plan()
    assert resolv_conf(plan) == "nameserver 10.201.1.53\nsearch overlay.test\n"
