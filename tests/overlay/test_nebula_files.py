"""What a configuration of Nebula leads to: certificates inline, and a port that is taken."""

import asyncio
import socket
from pathlib import Path

import pytest

from preflight.model.event import silent
from preflight.overlay.nebula_files import printed, taken
from tests.overlay.conftest import sh


@pytest.mark.lab
def test_a_certificate_inline(tmp_path: Path) -> None:
    """It is read like one in a file; a key in its place is left alone."""
    sh("nebula-cert", "ca", "-name", "x", "-out-crt", str(tmp_path / "ca.crt"), "-out-key", str(tmp_path / "ca.key"))
    for value in (str(tmp_path / "ca.crt"), (tmp_path / "ca.crt").read_text()):
        (found,) = asyncio.run(printed({"pki": {"ca": value}}, "ca", silent))
        assert found["details"]["name"] == "x"
    key = (tmp_path / "ca.key").read_text()
    for value in (key, "", "relative.crt", str(tmp_path / "missing.crt")):
        assert asyncio.run(printed({"pki": {"ca": value}}, "ca", silent)) == []


def test_a_port_that_is_taken() -> None:
    """Another program has it; a port that is free, or none, keeps nothing from running."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        config = {"listen": {"host": "127.0.0.1", "port": port}}
        assert taken(config) == f"another program has UDP port {port}, its listen.port"
    assert taken(config) is None
    assert taken({}) is None
    assert taken({"listen": {"host": "name.example", "port": port}}) is None
    assert taken({"listen": {"host": "192.0.2.1", "port": port}}) is None
