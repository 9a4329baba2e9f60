"""An enrolment on a way on which large packets vanish: it ends soon, says why, and leaves nothing."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from preflight.api import Result, codes
from preflight.net.control import enrolment
from tests.net.conftest import BOOTSTRAP
from tests.net.control.test_enrolment import collect, relayed, rows, settings

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap, StartControlPlane


def test_a_call_on_a_way_that_loses_large_packets_is_not_repeated(
    open_trap: "OpenTrap", start_control_plane: "StartControlPlane", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where `mtu.tcp` has found a black hole, a join without an answer ends soon and says why; no row stays."""
    server = start_control_plane()
    monkeypatch.setattr(enrolment, "STALLED_S", 0.2)

    async def run() -> list[Result]:
        async with relayed(open_trap, server, lambda path, heard: None if path.endswith("/join") else heard) as trap:
            return await collect(settings(trap.url, boot=BOOTSTRAP, out=tmp_path / "cred"), vanish=True)

    results = asyncio.run(run())
    (join,) = (result for result in results if result.aspect == "join")
    assert (join.code, join.attempts) == (codes.ENROLL_JOIN_FAILED, 1)
    assert "full segments of TCP vanish" in join.message
    assert rows(server) == []
