"""posture.roles and posture.scope against the bundled control plane: what they find, and that nothing stays behind."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from preflight_checks.posture_roles import posture_roles
from preflight_checks.posture_scope import posture_scope
from pydantic import SecretStr

from preflight.api import Check, Context, Result
from preflight.net.secrets.local import LocalSecrets
from preflight.settings.load import Enrolment, Options, Secrets, Settings, load
from preflight.settings.schema import ControlSettings
from tests.net.conftest import MESH, SUBMITTER, WORKER, Request, answer, context

if TYPE_CHECKING:
    from tests.net.conftest import ControlPlane, OpenTrap, StartControlPlane

ADMIN = "admin-secret-of-the-tests"


def run(check: Check, settings: Settings) -> list[Result]:
    async def collect(ctx: Context) -> list[Result]:
        try:
            async with aclosing(check.function(ctx)) as results:
                return [result async for result in results]
        finally:
            await ctx.net.control.aclose()

    return asyncio.run(collect(context(settings)))


def codes_of(results: list[Result]) -> list[str]:
    return [result.code.slug if result.code else result.status.value for result in results]


def listed(server: "ControlPlane") -> list[str]:
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {MESH}"}) as http:
        return [node["id"] for node in http.get("/v1/populi/nodes").json()["nodes"]]


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ({}, ["run.not-applicable"]),
        ({"VOX_MESH_WORKER_TOKEN": WORKER, "VOX_MESH_SUBMITTER_TOKEN": SUBMITTER}, ["pass"]),
        ({"VOX_MESH_TOKEN": MESH}, ["pass"]),
        ({"VOX_MESH_WORKER_TOKEN": MESH}, ["posture.role-too-strong"]),
        ({"VOX_MESH_SUBMITTER_TOKEN": WORKER}, ["posture.role-too-strong"]),
        ({"VOX_MESH_WORKER_TOKEN": SUBMITTER}, ["enroll.forbidden"]),
        ({"VOX_MESH_ADMIN_TOKEN": WORKER}, ["enroll.forbidden"]),
        ({"VOX_MESH_SUBMITTER_TOKEN": "unknown-secret-of-the-tests"}, ["enroll.unauthorized"]),
        ({"VOX_MESH_WORKER_TOKEN": MESH, "VOX_MESH_ADMIN_TOKEN": MESH}, ["posture.shared-token"]),
        ({"VOX_MESH_WORKER_TOKEN": "unknown-secret-of-the-tests"}, ["enroll.unauthorized"]),
    ],
)
def test_roles(
    start_control_plane: "StartControlPlane",
    monkeypatch: pytest.MonkeyPatch,
    tokens: dict[str, str],
    expected: list[str],
) -> None:
    """Each token is judged by what the server lets it do, and the requests leave no row and no mail."""
    server = start_control_plane(VOX_MESH_ADMIN_TOKEN=ADMIN)
    for name in ("VOX_MESH_TOKEN", "VOX_MESH_WORKER_TOKEN", "VOX_MESH_SUBMITTER_TOKEN", "VOX_MESH_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in tokens.items():
        monkeypatch.setenv(name, value)
    results = run(posture_roles, Settings(control=ControlSettings(url=server.url)))
    assert codes_of(results) == expected
    assert listed(server) == []
    assert not [value for value in tokens.values() if value in repr(results)]


def test_a_jwt_is_not_spent(open_trap: "OpenTrap") -> None:
    """The control plane takes each JWT once: trying it would spend what the worker needs."""

    async def talk() -> None:
        async with open_trap(lambda request: answer()) as trap:
            settings = Settings(control=ControlSettings(url=trap.url))
            ctx = context(settings)
            jwt = "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"
            ctx.net.secrets = LocalSecrets(settings, {"VOX_MESH_WORKER_TOKEN": jwt})
            (result,) = [result async for result in posture_roles.function(ctx)]
            await ctx.net.control.aclose()
            assert result.code is not None
            assert result.code.slug == "run.not-applicable"
            assert trap.requests == []

    asyncio.run(talk())


@pytest.mark.parametrize(("status", "expected"), [("404 Not Found", None), ("503 Later", "run.no-answer")])
def test_a_server_that_does_not_tell(open_trap: "OpenTrap", status: str, expected: str | None) -> None:
    """An old server without the list of leases is not undecided for ever; one that is overloaded is, for now."""

    async def talk() -> None:
        def respond(request: Request) -> bytes:
            if "leases" in request.line:
                return answer(status, x_populi_feature="a")
            return answer(body=b'{"schema_version": 1, "nodes": []}', x_populi_feature="a")

        async with open_trap(respond) as trap:
            settings = Settings(control=ControlSettings(url=trap.url))
            ctx = context(settings)
            ctx.net.secrets = LocalSecrets(settings, {"VOX_MESH_WORKER_TOKEN": WORKER})
            (result,) = [result async for result in posture_roles.function(ctx)]
            await ctx.net.control.aclose()
            assert (result.code.slug if result.code else None) == expected

    asyncio.run(talk())


@pytest.mark.parametrize(
    ("options", "more", "expected"),
    [
        ((), {"intrusive": True}, ["pass"]),
        ((), {"enrolment": Enrolment()}, ["pass"]),
        ((), {}, ["run.not-enrolling"]),
        (("--fault", "scope-open"), {"intrusive": True}, ["posture.scope-open"]),
        (("--fault", "throttle=1"), {"intrusive": True}, ["pass"]),
    ],
)
def test_scope(
    start_control_plane: "StartControlPlane", options: tuple[str, ...], more: dict[str, Any], expected: list[str]
) -> None:
    """It writes only where that was asked for, names an open scope, and removes its row."""
    server = start_control_plane(*options)
    settings = Settings(control=ControlSettings(url=server.url), secrets=Secrets(token=SecretStr(WORKER)))
    assert codes_of(run(posture_scope, replace(settings, **more))) == expected
    assert listed(server) == []


def test_a_submitters_token_proves_nothing_about_the_scope(start_control_plane: "StartControlPlane") -> None:
    """Its 403 is about the role; taking it for the scope's would praise an open cluster."""
    server = start_control_plane("--fault", "scope-open")
    settings = Settings(
        control=ControlSettings(url=server.url), secrets=Secrets(token=SecretStr(SUBMITTER)), intrusive=True
    )
    assert codes_of(run(posture_scope, settings)) == ["run.no-answer"]


def test_secrets_are_read_where_they_lie(tmp_path: Path) -> None:
    """Environment and files of client and server, by role; the folders are those of the settings, or the named ones."""
    for name in ("token", "submit", "admin"):
        (tmp_path / name).write_text(f"{name}-secret\n")
    (tmp_path / "token").chmod(0o644)
    config = tmp_path / "preflight.yaml"
    config.write_text(
        "control: {token_file: token, submitter_token_file: submit}\ncontrol_plane: {admin_token_file: admin}\n"
    )
    local = LocalSecrets(load(Options(config=config), {}), {"VOX_MESH_WORKER_TOKEN": " w "})
    assert [(token.role, token.source, token.value.get_secret_value()) for token in local.tokens()] == [
        ("worker", "VOX_MESH_WORKER_TOKEN", "w"),
        ("node", "control.token_file", "token-secret"),
        ("submitter", "control.submitter_token_file", "submit-secret"),
        ("admin", "control_plane.admin_token_file", "admin-secret"),
    ]
    assert "secret" not in repr([token.value for token in local.tokens()])
    assert next((file.what, file.mode) for file in local.files()) == ("control.token_file", 0o644)
    assert local.folders() == (Path.cwd(), tmp_path)
    config.write_text("posture: {repositories: [., deploy]}\n")
    assert LocalSecrets(load(Options(config=config), {})).folders() == (tmp_path, tmp_path / "deploy")


def test_files_of_the_workers_are_secret_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects mesh.env, which `vox populi up` writes with a token: others may read neither it nor a copy in git."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / ".vox" / "populi" / "mesh.env"
    file.parent.mkdir(parents=True)
    file.write_text("VOX_MESH_TOKEN=of-all\n")
    file.chmod(0o644)
    settings = load(Options(), {"VOX_MESH_TOKEN": "of-all"})
    (found,) = LocalSecrets(settings, {}).files()
    assert (found.path, found.open_to_others) == (file, True)


def test_a_token_that_cannot_be_right_is_tried_nowhere(tmp_path: Path) -> None:
    """Protects the server's log and the token: quotes around it are a finding of another check, and not sent."""
    (tmp_path / "token").write_text("'quoted'\n")
    config = tmp_path / "preflight.yaml"
    config.write_text("control: {token_file: token}\n")
    assert LocalSecrets(load(Options(config=config), {}), {"VOX_MESH_TOKEN": '"quoted"'}).tokens() == ()
