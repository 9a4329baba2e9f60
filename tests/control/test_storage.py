"""The disk under a running server: full, and with room again; a file system that cannot be written."""

import os
import resource
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.control.conftest import PROGRAM, environment

if TYPE_CHECKING:
    from tests.control.conftest import Server, StartServer

MESH = {"VOX_MESH_TOKEN": "mesh-token-of-the-tests"}
ATTEMPTS = 2000
SMALL_DISK = 'mount -t tmpfs -o "size=1m" tmpfs "$PWD" && cd "$PWD" && exec "$@"'
READ_ONLY_DISK = 'mount -t tmpfs -o ro tmpfs "$PWD" && exec "$@"'


def in_mount_namespace(script: str) -> tuple[str, ...]:
    """Words before a program's that give it a separate view of the file system."""
    return ("unshare", "--mount", "sh", "-ec", script, "sh")


def join(client: httpx.Client, name: str) -> httpx.Response:
    record = {"id": name, "capabilities": {}, "version": "1", "last_seen_unix_ms": 0, "provider": "x" * 4000}
    return client.post("/v1/populi/join", json=record)


def join_until_refused(client: httpx.Client, prefix: str) -> set[str]:
    """The names that were taken before the first 503, which says when to come back."""
    taken: set[str] = set()
    for number in range(ATTEMPTS):
        answer = join(client, f"{prefix}-{number}")
        if answer.status_code == 503:
            assert answer.headers["retry-after"] == "5"
            return taken
        assert answer.status_code == 200
        taken.add(f"{prefix}-{number}")
    pytest.fail("there was always room")


def listed(client: httpx.Client) -> set[str]:
    return {node["id"] for node in client.get("/v1/populi/nodes").json()["nodes"]}


def assert_recovered(server: "Server", client: httpx.Client, taken: set[str]) -> None:
    """The next write is taken, everything that was ever answered with 200 is there, and a restart finds it."""
    assert join(client, "after").status_code == 200
    assert listed(client) == {*taken, "after"}
    assert server.process
    assert server.process.poll() is None
    errors = [line for line in server.log().splitlines() if '"level": "error"' in line]
    assert errors
    assert all("the database cannot be used" in line and "exception" not in line for line in errors)


@pytest.mark.lab
def test_a_full_disk_is_503_until_there_is_room(start_server: "StartServer") -> None:
    """A real file system without room: reads go on, nothing acknowledged is lost, and nobody has to restart it."""
    server = start_server(MESH, before=in_mount_namespace(SMALL_DISK))
    assert server.process
    filler = Path(f"/proc/{server.process.pid}/root{server.folder}/filler")
    with server.client("mesh") as client:
        taken = {"first"} if join(client, "first").status_code == 200 else set()
        fill(filler)
        taken |= join_until_refused(client, "node")
        assert listed(client) == taken
        filler.unlink()
        assert_recovered(server, client, taken)
    assert server.stop() == 0


def test_a_file_that_may_not_grow_is_503_until_it_may(start_server: "StartServer") -> None:
    """The same by a limit of the process, as a quota would set it (EFBIG); after a restart everything is there."""
    server = start_server(MESH)
    assert server.process
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    with server.client("mesh") as client:
        taken = {"first"} if join(client, "first").status_code == 200 else set()
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (256 * 1024, hard))
        taken |= join_until_refused(client, "node")
        assert listed(client) == taken
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert_recovered(server, client, taken)
    server.kill()
    server.start()
    with server.client("mesh") as client:
        assert listed(client) == {*taken, "after"}


@pytest.mark.lab
def test_a_read_only_file_system_is_named_at_the_start(tmp_path: Path) -> None:
    """One sentence and exit code 2, before anything is served."""
    run = subprocess.run(
        [*in_mount_namespace(READ_ONLY_DISK), *PROGRAM, "serve", "--bind", "127.0.0.1:0", "--db", "x.db"],
        cwd=tmp_path,
        env=environment(MESH),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "x.db: cannot be opened for writing (Read-only file system)" in run.stderr
    assert "Traceback" not in run.stderr


def fill(path: Path) -> None:
    """Write until there is no room left."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, b"\0" * 4096)
    except OSError:
        pass
    finally:
        os.close(descriptor)
