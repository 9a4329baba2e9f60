"""Tailscale's own pings, from a daemon that answers, refuses, or hangs."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from preflight.model.product_ping import ProductPing
from preflight.overlay import local, tailscale_ping

ANSWERED = {"IP": "100.64.0.2", "Err": "", "LatencySeconds": 0.012, "Endpoint": "10.231.2.1:41641"}


async def asked(socket: Path, answers: Mapping[str, tuple[int, str] | None]) -> tuple[ProductPing, ...]:
    """The pings of a daemon that answers each kind so; None: it hangs."""
    requests = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        requests.append(head.split(b"\r\n")[0].decode())
        answer = next(each for kind, each in answers.items() if kind in requests[-1])
        if answer is not None:
            status, body = answer
            writer.write(f"HTTP/1.0 {status} x\r\n\r\n{body}".encode())
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_unix_server(serve, path=socket)
    async with server:
        found = await tailscale_ping.pings("100.64.0.2")
    assert sorted(requests) == [
        f"POST /localapi/v0/ping?ip=100.64.0.2&type={kind} HTTP/1.0" for kind in ("TSMP", "disco")
    ]
    return found


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        (
            {"disco": (200, json.dumps(ANSWERED)), "TSMP": (200, json.dumps(ANSWERED | {"Endpoint": ""}))},
            (ProductPing("disco", 0.012, "10.231.2.1:41641"), ProductPing("TSMP", 0.012)),
        ),
        ({"disco": (200, '{"Err": "no matching peer"}'), "TSMP": None}, (ProductPing("disco"), ProductPing("TSMP"))),
        # This user may not ping, and this version does not know the kind: neither says anything about the peer.
        ({"disco": (403, ""), "TSMP": (404, "")}, ()),
        ({"disco": (200, "[]"), "TSMP": (200, '{"LatencySeconds": "soon"}')}, ()),
    ],
)
def test_pings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: Mapping[str, tuple[int, str] | None],
    found: tuple[ProductPing, ...],
) -> None:
    """An answer, silence, and no word at all are three things."""
    monkeypatch.setattr(tailscale_ping, "SOCKET", tmp_path / "d.sock")
    monkeypatch.setattr(local, "BUSY_S", 0.2)
    assert asyncio.run(asked(tmp_path / "d.sock", answers)) == found
