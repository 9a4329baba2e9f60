"""Rows on a control plane that killed runs left, and how they are looked at."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from preflight.api import Check
from preflight.api import Result as CheckResult
from preflight.cli.clean import clean
from preflight.model.enrolment import JoinedRow
from preflight.net.control import journal
from preflight.net.control.journal import Note
from preflight.settings.load import Secrets, Settings
from preflight.settings.schema import ControlSettings, NodeSettings
from tests.net import conftest as net
from tests.net.conftest import BOOTSTRAP, MESH, SUBMITTER, WORKER, ControlPlane


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane for the whole file, of an open scope, so that every join is taken; each test has its own ids."""
    secrets = {
        "VOX_MESH_TOKEN": MESH,
        "VOX_MESH_WORKER_TOKEN": WORKER,
        "VOX_MESH_SUBMITTER_TOKEN": SUBMITTER,
        "VOX_MESH_BOOTSTRAP_TOKEN": BOOTSTRAP,
    }
    served = ControlPlane(tmp_path_factory.mktemp("plane"), secrets).start()
    yield served
    served.kill()


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This node has a worker's token and nothing else; its state folder is that of the test."""
    for name in list(os.environ):
        if name.startswith(("VOX_", "PREFLIGHT_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VOX_MESH_TOKEN", WORKER)
    monkeypatch.setenv("VOX_MESH_SCOPE_ID", "lab")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def joined_folder() -> Path:
    return journal.state_folder() / "joined"


def post(plane: ControlPlane, route: str, **body: Any) -> None:
    headers = {"authorization": f"Bearer {MESH}"}
    httpx.post(f"{plane.url}/v1/populi/{route}", json=body, headers=headers, verify=False).raise_for_status()


def record(node_id: str, *labels: str, **more: Any) -> dict[str, Any]:
    row = {"id": node_id, "capabilities": {"labels": labels}, "version": "9", "last_seen_unix_ms": 0, "scope_id": "lab"}
    return row | more


def rows(plane: ControlPlane, prefix: str = "") -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {MESH}"}
    said = httpx.get(f"{plane.url}/v1/populi/nodes", headers=headers, verify=False)
    return [row for row in said.json()["nodes"] if row["id"].startswith(prefix)]


def settings(url: str, node_id: str | None = None) -> Settings:
    return Settings(
        node=NodeSettings(id=node_id),
        control=ControlSettings(url=url, scope_id="lab"),
        secrets=Secrets(token=SecretStr(WORKER)),
    )


def killed_run(url: str, node_id: str, *, made_up: bool = False) -> JoinedRow:
    """What a run that was killed has written down: its file is there, and nobody holds it."""
    note = Note(settings(url, None if made_up else node_id), "enroll.cycle")
    note.before_join(node_id, "lab")
    row = note.row
    assert row is not None
    note.end(gone=False)
    return row


def run_clean(url: str, *words: str) -> Result:
    return CliRunner().invoke(clean, ["--control-url", url, *words], catch_exceptions=False)


def results_of(
    check: Check, made: Settings, each: Callable[[CheckResult], None] = lambda result: None
) -> list[CheckResult]:
    """Run a check by itself; `each` sees a result as soon as it is there."""

    async def run() -> list[CheckResult]:
        context, reported = net.context(made), []
        async with aclosing(check.function(context)) as results:
            async for result in results:
                reported.append(result)
                each(result)
        await context.net.aclose()
        return reported

    return asyncio.run(run())
