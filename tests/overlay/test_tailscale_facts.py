"""What Tailscale's daemon is asked in addition to its state, on a real socket that answers as the daemon does."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from preflight_checks.overlay_interface import judge

from preflight.api import Status
from preflight.model.overlay import Fact, OverlayState
from preflight.overlay import tailscale_facts
from preflight.overlay.tailscale_facts import counted, read_facts

STATUS = (Path(__file__).parent / "samples/tailscale/status-derponly.json").read_text(encoding="utf-8")
METRICS = """\
# TYPE tailscaled_inbound_bytes_total counter
tailscaled_inbound_bytes_total{path="derp"} 1756
tailscaled_inbound_bytes_total{path="direct_ipv4"} 0
tailscaled_outbound_bytes_total{path="derp"} 2.484e+03
# TYPE tailscaled_health_messages gauge
tailscaled_health_messages{type="warning"} 1
"""
ANSWERS = {
    "status": STATUS,
    "derpmap": json.dumps(
        {
            "Regions": {
                "900": {"RegionID": 900, "RegionCode": "lab", "RegionName": "Lab", "Nodes": [{"HostName": "x"}]},
                "1": {"RegionID": 1, "RegionCode": "far", "RegionName": "Far away"},
            }
        }
    ),
    "dns-osconfig": json.dumps({"Nameservers": ["100.100.100.100"], "MatchDomains": ["a.test", "b.test"]}),
    "usermetrics": METRICS,
}


def facts(answers: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Fact]:
    """Read from a daemon that knows these documents, and answers 404 to the rest."""
    path = folder / "tailscaled.sock"
    monkeypatch.setattr(tailscale_facts, "SOCKET", path)

    async def daemon(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert b"Host: local-tailscaled.sock" in request
        what = request.split(b" ")[1].decode().removeprefix("/localapi/v0/")
        status = "200 OK" if what in answers else "404 Not Found"
        writer.write(f"HTTP/1.0 {status}\r\n\r\n{answers.get(what, '')}".encode())
        await writer.drain()
        writer.close()

    async def read() -> dict[str, Fact]:
        server = await asyncio.start_unix_server(daemon, str(path))
        try:
            return await read_facts()
        finally:
            server.close()

    return asyncio.run(read())


def test_all_that_a_daemon_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay that is used by its name, the resolver's part, and bytes by path; no domain and no tailnet's name."""
    assert facts(ANSWERS, tmp_path, monkeypatch) == {
        "magic_dns": False,
        "dns_servers": ("100.100.100.100",),
        "dns_domains": 2,
        "relays": ("lab (Lab)",),
        "inbound_derp_bytes": 1756,
        "inbound_direct_ipv4_bytes": 0,
        "outbound_derp_bytes": 2484,
        "warnings": 1,
    }


@pytest.mark.parametrize("missing", list(ANSWERS))
def test_an_older_daemon_tells_less(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each document may be unknown to it; the others are read anyway."""
    fewer = {what: answer for what, answer in ANSWERS.items() if what != missing}
    assert facts(fewer, tmp_path, monkeypatch)


@pytest.mark.parametrize("answer", ["", "{", "[]", "7", '{"Regions": [1]}', '{"Nameservers": {"a": 1}}', "\x00{path="])
def test_another_daemon_tells_nothing(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not understood does not become a fact, and stops nothing."""
    reported = facts(dict.fromkeys(ANSWERS, answer), tmp_path, monkeypatch)
    assert set(reported) <= {"dns_servers", "dns_domains", "relays"}
    json.dumps(reported, allow_nan=False)


def test_without_daemon_there_are_no_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is asked instead."""
    monkeypatch.setattr(tailscale_facts, "SOCKET", tmp_path / "none")
    assert asyncio.run(read_facts()) == {}


@pytest.mark.parametrize("value", ["1e999", "1.2.3", "", "e"])
def test_counters_that_are_none(value: str) -> None:
    """A number that no counter can have is left out."""
    assert counted(f'tailscaled_inbound_bytes_total{{path="derp"}} {value}') == {}


@pytest.mark.parametrize("change", [{}, {"condition": "overlay.down"}])
def test_the_facts_are_evidence_of_the_interface_s_result(change: dict[str, Any]) -> None:
    """Whether it works or not; they are never a verdict."""
    state = OverlayState(**{"product": "tailscale", "interface": "tailscale0", "up": False, "mtu": 1280, **change})
    result = judge(state, (), None, {"magic_dns": True})
    assert result.status is Status.FAIL
    assert result.evidence[-1].data == {"magic_dns": True}
