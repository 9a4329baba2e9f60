"""The description at /openapi.json: complete, guarded, and true."""

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from preflight.control import routes

if TYPE_CHECKING:
    from tests.control.conftest import StartServer

MESH = "mesh-token-of-the-tests"


def test_every_route_is_described_and_needs_its_bearer(start_server: "StartServer") -> None:
    """17 routes; the document itself is behind the bearer like everything else."""
    server = start_server({"VOX_MESH_TOKEN": MESH})
    assert httpx.get(f"{server.url}/openapi.json").status_code == 401
    document = httpx.get(f"{server.url}/openapi.json", headers={"authorization": f"Bearer {MESH}"}).json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in routes.ROUTES}
    unguarded = {path for path, methods in document["paths"].items() for m in methods.values() if not m["security"]}
    assert unguarded == {"/health", "/v1/populi/bootstrap/exchange"}


@pytest.mark.timeout(300)
def test_the_server_keeps_what_its_description_promises(start_server: "StartServer", tmp_path: Path) -> None:
    """Schemathesis with all its checks: statuses, types, headers, schemas, bearers; no 5xx.

    Its coverage phase tries each boundary once, some 950 cases. A random case takes ten times the server's time to make
    and to judge, so there are few: 40 for each route and for the ways through them.
    """
    server = start_server({"VOX_MESH_TOKEN": MESH, "VOX_MESH_BOOTSTRAP_TOKEN": "one-time-token-of-the-tests"})
    # fmt: off
    run = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json",
         "--header", f"Authorization: Bearer {MESH}", "--max-examples", "40", "--seed", "20261124",
         "--generation-database", "none", "--checks", "all", "--no-color", "--warnings", "off"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )
    # fmt: on
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "17 selected" in run.stdout
    generated = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert generated is not None
    assert generated[1] == generated[2]
    assert int(generated[1]) >= 1500
    assert '"level": "error"' not in server.log()
