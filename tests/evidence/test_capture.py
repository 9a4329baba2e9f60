"""Captures of failing checks: only this run's own packets, only their headers, readable by every tool."""

import asyncio
import json
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.utils import rdpcap

from preflight import codes
from preflight.api import Direction, Peer, Result, failed, passed
from preflight.evidence.capture import captures, keep, pcap, rewritten
from preflight.net.recorder import Packet, Recorder
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, Report
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.redact import Redactor

SECRET = b"a-token-in-the-payload"
T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def at(seconds: float) -> int:
    """UNIX nanoseconds this many seconds after the run began."""
    return int((T0.timestamp() + seconds) * 1e9)


def udp(source: str, target: str) -> bytes:
    """The headers of a UDP packet."""
    network = IPv6(src=source, dst=target) if ":" in source else IP(src=source, dst=target)
    return bytes(network / UDP(sport=40000, dport=862) / SECRET)[: (40 if ":" in source else 20) + 8]


@pytest.fixture
def recorded() -> list[Packet]:
    """What a recorder on loopback keeps of some packets, sent for real."""

    async def run() -> list[Packet]:
        recorder = Recorder("lo", ["127.0.0.9", "::1"], [9862])
        recorder.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(SECRET, ("127.0.0.9", 9862))
            sender.sendto(SECRET, ("127.0.0.9", 9863))  # another port: somebody else's
            sender.sendto(SECRET, ("127.0.0.8", 9862))  # another host
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(SECRET, ("::1", 9862))
        with socket.socket() as client:
            client.settimeout(5)
            client.connect_ex(("127.0.0.9", 9862))
        recorder.stop()
        return list(recorder.packets)

    return asyncio.run(run())


@pytest.mark.lab
def test_only_our_own_packets_and_only_their_headers(recorded: list[Packet], tmp_path: Path) -> None:
    """A user's other traffic is private, and payloads hold tokens. ICMP errors belong to the probes."""
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(recorded))
    assert SECRET not in path.read_bytes()
    packets = rdpcap(str(path))
    ports = {
        (packet.getlayer(UDP) or packet.getlayer(TCP)).dport for packet in packets if UDP in packet or TCP in packet
    }
    assert 9862 in ports
    assert 9863 not in {
        packet[UDP].dport for packet in packets if UDP in packet and IP in packet and ICMP not in packet
    }
    assert not any(packet[IP].dst == "127.0.0.8" for packet in packets if IP in packet)
    assert any(IPv6 in packet for packet in packets)
    assert all(packet.received_ns > 1_600_000_000_000_000_000 for packet in recorded)


def test_each_failing_result_gets_what_its_peer_sent_while_it_ran() -> None:
    """One file answers one question: other peers, other times and good results are not in it."""
    results = (
        _result("reach.udp", failed(codes.REACH_NO_FORWARD, "b", Direction.FORWARD, "dead"), 1.0, 500),
        _result("reach.udp", passed("c", Direction.FORWARD, "fine"), 1.0, 500),
        _result("control.connect", failed(codes.CONTROL_TIMEOUT, "control", Direction.ROUND_TRIP, "silent"), 2.0, 100),
    )
    packets = [
        Packet(at(1.2), 100, udp("10.66.0.1", "10.66.0.2"), "10.66.0.2"),
        Packet(at(1.2), 100, udp("10.66.0.1", "10.66.0.3"), "10.66.0.3"),
        Packet(at(9.0), 100, udp("10.66.0.1", "10.66.0.2"), "10.66.0.2"),
        Packet(at(2.05), 100, udp("10.66.0.1", "10.66.0.9"), "10.66.0.9"),
    ]
    files = captures(_report(results), packets, control=["10.66.0.9"])
    assert {id: len(content) for id, content in files.items()} == {
        "reach.udp/b/forward": 24 + 16 + 28,
        "control.connect/control/round-trip": 24 + 16 + 28,
    }


@pytest.mark.parametrize(("source", "target"), [("10.66.0.1", "10.66.0.2"), ("fd66::1", "fd66::2")])
def test_pseudonyms_replace_addresses_and_checksums(source: str, target: str, tmp_path: Path) -> None:
    """With pseudonyms no address is left, not even in a checksum; times and lengths stay."""
    given = {
        "10.66.0.1": "192.0.2.1",
        "10.66.0.2": "192.0.2.2",
        "fd66::1": "2001:db8::1",
        "fd66::2": "2001:db8::2",
    }
    before = pcap([Packet(at(1), 150, udp(source, target), target)])
    path = tmp_path / "c.pcap"
    path.write_bytes(rewritten(before, given.__getitem__))
    (packet,) = rdpcap(str(path))
    network = packet[IPv6] if ":" in source else packet[IP]
    assert (network.src, network.dst) == (given[source], given[target])
    assert packet[UDP].chksum == 0
    assert packet.wirelen == 150
    assert float(packet.time) == pytest.approx(T0.timestamp() + 1)


def test_the_report_names_the_files(tmp_path: Path) -> None:
    """The reader of the report finds the packets; with pseudonyms no name of a file shows a host."""
    results = (_result("reach.udp", failed(codes.REACH_NO_FORWARD, "b-laptop", Direction.FORWARD, "dead"), 1.0, 500),)
    report, redactor = _report(results), Redactor([], Pseudonyms(["b-laptop"]))
    kept = keep(report, {"reach.udp/b-laptop/forward": pcap([])}, tmp_path, redactor)
    (evidence,) = kept.results[0].evidence
    path = tmp_path / f"preflight-captures-{report.run.id}" / "reach.udp_host-1_forward.pcap"
    assert (evidence.kind, evidence.path) == ("capture", str(path))
    assert path.exists()


@pytest.mark.lab
@pytest.mark.needs("tcpdump")
def test_a_run_keeps_them_next_to_its_report_and_a_bundle_takes_them_in(tmp_path: Path) -> None:
    """From the command line to tcpdump: a dead direction leaves a file with the packets that were sent into it."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "preflight", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)

    done = run("all", "--lab", "drop-forward", "-q", "--capture", "--output", "json=r.json")
    assert done.returncode == 1, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    (dead,) = [result for result in report["results"] if result["id"] == "reach.udp/b/forward"]
    (path,) = [entry["path"] for entry in dead["evidence"] if entry["kind"] == "capture"]
    read = subprocess.run(["tcpdump", "-nr", path], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "10.66.0.2.862: UDP" in read.stdout
    assert run("bundle", "r.json", "-q", "--output", "b.tar.gz").returncode == 0
    listed = subprocess.run(["tar", "tzf", "b.tar.gz"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "/captures/reach.udp_b_forward.pcap" in listed.stdout


def _result(check: str, result: Result, began_s: float, duration_ms: float) -> Result:
    from dataclasses import replace

    began = datetime.fromtimestamp(T0.timestamp() + began_s, UTC)
    return replace(result, check=check, category=check.partition(".")[0], started_at=began, duration_ms=duration_ms)


def _report(results: tuple[Result, ...]) -> Report:
    return build_report(
        results,
        (),
        node=NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11"),
        overlay=None,
        started_at=T0,
        duration_ms=9000,
        gate=Gate(),
        peers=(Peer("10.66.0.2", "b"), Peer("10.66.0.3", "c")),
    )
