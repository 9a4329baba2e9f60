"""The settings file that `init` writes: valid as it is, and valid with every commented line taken in."""

import json
import os
import re
import subprocess
import sys
from ipaddress import ip_interface
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from preflight.api import Peer
from preflight.model.overlay import OverlayState
from preflight.settings.first_file import Found, initial_settings
from preflight.settings.schema import config_schema, read_config

WIREGUARD = OverlayState(
    product="wireguard",
    interface="wg0",
    up=True,
    mtu=1420,
    addresses=(ip_interface("10.66.0.1/24"), ip_interface("fd66::1/64"), ip_interface("fe80::1/64")),
)
NOTHING = Found(hostname="node-a", overlay=None)
EVERYTHING = Found(
    hostname="yes",
    overlay=WIREGUARD,
    peers=(Peer("10.66.0.2", "b: [x]"), Peer("fd66::3")),
    control_url="http://10.66.0.3:9847",
    scope_id="123",
    set_variables=("VOX_MESH_TOKEN",),
)


@pytest.mark.parametrize("found", [NOTHING, EVERYTHING], ids=["nothing", "everything"])
def test_it_is_valid_at_once_and_so_is_every_comment(found: Found, tmp_path: Path) -> None:
    """A user starts from it, and uncomments what is needed without looking up a name."""
    path = tmp_path / "preflight.yaml"
    text = initial_settings(found)
    path.write_text(text, encoding="utf-8")
    read_config(path)
    taken_in = re.sub(r"^# ((?:  )*(?:- |[a-z_]+:).*)$", r"\1", text, flags=re.MULTILINE)
    path.write_text(taken_in, encoding="utf-8")
    assert taken_in != text
    read_config(path)
    Draft202012Validator(config_schema()).validate(yaml.safe_load(taken_in))


def test_what_was_found_is_in_it() -> None:
    """Names that YAML would take for something else stay names."""
    settings = yaml.safe_load(initial_settings(EVERYTHING))
    assert settings == {
        "node": {"id": "yes"},
        "peers": [{"address": "10.66.0.2", "name": "b: [x]"}, {"address": "fd66::3"}],
        "control": {"url": "http://10.66.0.3:9847", "scope_id": "123"},
        "overlay": {"interface": "wg0"},
    }


def test_the_command_writes_once_and_no_secret(tmp_path: Path) -> None:
    """It overwrites nothing by itself, names the variables that hold secrets and never shows their values."""
    environ = {
        "PATH": os.environ["PATH"],
        "VOX_MESH_TOKEN": "tell-nobody-1234",
        "VOX_MESH_CONTROL_ADDR": "https://10.66.0.3:9847",
    }

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "preflight", "init", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    first = run()
    assert (first.returncode, first.stderr) == (0, "")
    text = (tmp_path / "preflight.yaml").read_text(encoding="utf-8")
    assert "VOX_MESH_TOKEN" in text
    assert "tell-nobody" not in text + first.stdout
    assert yaml.safe_load(text)["control"]["url"] == "https://10.66.0.3:9847"
    assert text.startswith("# yaml-language-server: $schema=preflight.schema.json\n")
    schema = json.loads((tmp_path / "preflight.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    again = run()
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert run("--force").returncode == 0
