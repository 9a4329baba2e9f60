"""Against a server with the traps of the real one: no malformed file costs its one-time token."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from preflight_checks.enroll_bootstrap import judge

from preflight.api import Status
from preflight.net import Net
from preflight.proto.control.token_text import read_token
from preflight.settings.load import Options, Settings, load
from tests.control.conftest import Server, servers

TOKEN = "the-one-time-token-of-the-tests"
MESH = "mesh-token-of-the-tests"
PATH = "/v1/populi/bootstrap/exchange"
VARIABLES = {"VOX_MESH_TOKEN": MESH, "VOX_MESH_BOOTSTRAP_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with servers(tmp_path_factory.mktemp("like-upstream")) as start:
        yield start(VARIABLES, "--like-upstream")


def exchange(server: Server, token: str) -> int:
    return httpx.post(f"{server.url}{PATH}", json={"bootstrap_token": token}, timeout=10).status_code


def test_the_trap_is_there(server: Server, tmp_path: Path) -> None:
    """Protects the tests of the client: one wrong guess makes the right token worthless."""
    with servers(tmp_path) as start:
        other = start(VARIABLES, "--like-upstream")
        assert [exchange(other, token) for token in ("x", TOKEN)] == [401, 410]
    assert server.url


wrapped = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda front, token, back: f"{front}{token}{back}".encode(),
        st.sampled_from(("", "\ufeff", " ", '"', "'", "VOX_MESH_BOOTSTRAP_TOKEN=", "export T=", "Bearer ", "\n", "#")),
        st.sampled_from((TOKEN, MESH, "", f"{TOKEN} {TOKEN}", f"{TOKEN}\n{TOKEN}")),
        st.sampled_from(("\r\n", '"\n', "'", " \n", "\t", "\r", "\n\n#\n", "\u200b", "\x00")),
    ),
)


def enrolling(folder: Path, server: Server, content: bytes) -> Settings:
    token, config = folder / "boot", folder / "preflight.yaml"
    token.write_bytes(content)
    config.write_text(f"control: {{url: '{server.url}'}}\n")
    options = Options(config=config, enroll=True, bootstrap_token_file=token, credentials_out=folder / "credential")
    return load(options, {"VOX_MESH_WORKER_TOKEN": MESH})


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=wrapped)
def test_no_malformed_file_burns_the_token(server: Server, tmp_path: Path, content: bytes) -> None:
    """What cannot be right is not sent: the report says so, the session refuses, and driven on anyway it asks
    for the list and no exchange.
    """
    _, trouble = read_token(content)
    loaded = enrolling(tmp_path, server, content)
    assert loaded.enrolment is not None
    held = loaded.enrolment.bootstrap
    if held is None or held.trouble is None:
        assert trouble is None or held is None
        return  # it can be a one-time token, and only the server knows whether it is
    assert judge(held).status is Status.FAIL
    assert asyncio.run(_driven(loaded)) is not None


async def _driven(loaded: Settings) -> str | None:
    net = Net(loaded)
    session = net.enrolment()
    try:
        trouble = session.prepare()
        while await session.advance() is not None:
            pass
        return trouble
    finally:
        await session.end()
        await net.aclose()


def test_the_token_still_buys_a_credential(server: Server) -> None:
    """After all these files: the right token was never spent. It runs last of this module."""
    assert exchange(server, TOKEN) == 200
