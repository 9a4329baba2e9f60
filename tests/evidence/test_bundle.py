"""The archive for a ticket: whole, accounted for, and without a secret in any byte of it."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from preflight import codes
from preflight.api import Direction, Evidence, failed
from preflight.cli.bundle import is_here
from preflight.engine.diagnosis import diagnose
from preflight.evidence.bundle import make_bundle
from preflight.evidence.collect import Raw, collect, counters
from preflight.model.event import Event
from preflight.report import json as report_json
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, OverlayInfo, Report
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.redact import Redactor
from preflight.report.timeline import Header, Recorded, parse

SECRETS = {
    "known": "correct-horse-battery",
    "bearer": "abcdefgh1234",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoid29ya2VyIn0.c2lnbmF0dXJl",
    "url": "hunter2-hunter2",
    "wireguard": "aGVsbG8gd29ybGQsIHRoaXMgaXMgYSBwcml2YXRlISE=",
    "preshared": "cHJlc2hhcmVkIGtleXMgYXJlIHNlY3JldHMgYXMgd2VsbCE=",
    "pem": "MC4CAQAwBQYDK2VwBCIEIFf0",
    "variable": "tell-nobody-at-all",
    "quoted": "tell-nobody-either",
    "json": "tell-nobody-in-json",
    "user": "alice",
}
EVERY_SECRET = f"""
token {SECRETS["known"]} here
Authorization: Bearer {SECRETS["bearer"]}
{SECRETS["jwt"]}
curl https://me:{SECRETS["url"]}@populi.example/health
PrivateKey = {SECRETS["wireguard"]}
  preshared key: {SECRETS["preshared"]}
-----BEGIN PRIVATE KEY-----
{SECRETS["pem"]}
-----END PRIVATE KEY-----
VOX_MESH_WORKER_TOKEN={SECRETS["variable"]}
      VOX_MESH_TOKEN: "{SECRETS["quoted"]}"
{{"API_TOKEN": "{SECRETS["json"]}", "PrivateKey": "{SECRETS["wireguard"]}"}}
/home/{SECRETS["user"]}/.config/preflight/worker.token
  private key: (hidden)
"""


def made(text: str) -> Report:
    """A report; another user may have written something in every field."""
    result = failed(
        codes.CONTROL_TIMEOUT,
        "b",
        Direction.ROUND_TRIP,
        text,
        remedy=text,
        measurements={"said": text},
        evidence=(Evidence("raw", text, {"body": [text], text: 1}),),
    )
    return build_report(
        (result,),
        diagnose([result]),
        node=NodeInfo(hostname="node-seven", os="Debian", kernel="6.1", python="3.11"),
        overlay=None,
        started_at=datetime(2026, 11, 23, tzinfo=UTC),
        duration_ms=1,
        gate=Gate(),
        command=("preflight", "all", "--control-url", f"https://me:{SECRETS['url']}@populi.example"),
    )


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Every file of the archive, without the folder's name."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            assert stream is not None
            files[member.name.partition("/")[2]] = stream.read()
    return files


def test_no_secret_is_in_any_byte_of_it() -> None:
    """Planted in the report and in raw files, in every shape: none comes out, compressed or not."""
    report = made(EVERY_SECRET)
    raw = [Raw("routes.txt", EVERY_SECRET), Raw("counters-before/snmp", EVERY_SECRET)]
    files = unpacked(make_bundle(report, raw, Redactor([SECRETS["known"]]), addresses=False))
    everything = b"\n".join(files.values()).decode()
    in_sentences = {"variable", "quoted", "json"}  # a report's own sentences name variables in lines to paste
    for kind, secret in SECRETS.items():
        places = everything if kind not in in_sentences else files["evidence/routes.txt"].decode()
        assert secret not in places, kind
    assert "private key: (hidden)" in files["evidence/routes.txt"].decode()


def test_the_manifest_accounts_for_every_file_and_every_cut() -> None:
    """Anyone who gets it can see that it is whole, and where something was removed."""
    files = unpacked(
        make_bundle(made("x"), [Raw("hosts", EVERY_SECRET)], Redactor([SECRETS["known"]]), addresses=False)
    )
    manifest = json.loads(files.pop("MANIFEST.json"))
    assert set(manifest["files"]) == set(files)
    for name, body in files.items():
        assert manifest["files"][name] == {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
    cut = {entry["what"]: entry["count"] for entry in manifest["redacted"] if entry["file"] == "evidence/hosts"}
    assert cut == {
        "secret": 1, "bearer": 1, "jwt": 1, "url-user": 1, "pem": 1, "key": 3, "variable": 3, "home": 1,
    }  # fmt: skip


def test_the_readme_says_what_was_found() -> None:
    """Who opens it first reads the verdict there, redacted like the rest."""
    files = unpacked(make_bundle(made(SECRETS["known"]), [], Redactor([SECRETS["known"]]), addresses=False))
    readme = files["README.txt"].decode()
    assert readme.splitlines()[2].startswith(("FAIL: ", "PASS: ", "INCONCLUSIVE: "))
    assert "report.txt" in readme
    assert SECRETS["known"] not in readme


def test_the_evidence_of_a_lab_is_not_the_host_s() -> None:
    """The lab's network is in namespaces; what the host shows would be about another network."""
    report = made("x")
    assert is_here(report)
    overlay = OverlayInfo(product="wireguard", interface="no-such-device", mtu=1420)
    lab = report.model_copy(update={"run": report.run.model_copy(update={"lab": "wireguard", "overlay": overlay})})
    assert not is_here(lab)
    inside = overlay.model_copy(update={"interface": "lo"})
    assert is_here(lab.model_copy(update={"run": lab.run.model_copy(update={"overlay": inside})}))


def test_pseudonyms_are_the_same_in_the_report_and_in_raw_files() -> None:
    """A reader follows one address through all files; names, MAC and IP addresses of the node are nowhere."""
    raw = [Raw("neighbours.txt", "10.66.0.2 dev eth0 lladdr 52:54:00:AB:cd:ef\nfe80::5054:ff:feab:cdef node-seven\n")]
    pseudonyms = Pseudonyms(("node-seven",))
    files = unpacked(make_bundle(made("10.66.0.2 is mute"), raw, Redactor([], pseudonyms), addresses=True))
    everything = b"\n".join(files.values()).decode()
    for original in ("10.66.0.2", "52:54:00", "fe80::5054", "node-seven"):
        assert original not in everything.lower(), original
    assert "192.0.2.1 is mute" in files["report.md"].decode().replace("\\", "")
    assert files["evidence/neighbours.txt"].decode().startswith("192.0.2.1 dev eth0 lladdr 00:00:5e:00:53:01\nfe80::1")


def test_a_thousand_addresses_have_a_thousand_pseudonyms() -> None:
    """Two nodes under one pseudonym would be a wrong report."""
    pseudonyms = Pseudonyms()
    given = {pseudonyms.replace(f"10.{n // 250}.{n % 250}.1") for n in range(1500)}
    assert len(given) == 1500


@pytest.mark.needs("ip")
def test_evidence_of_this_node_says_what_is_missing() -> None:
    """A tool that is not installed is a line in its file, not a file that is not there."""
    raw = {each.name: each.text for each in [*collect(), *counters("after")]}
    assert "lo" in raw["links.txt"]
    assert raw["tailscale.json"] == "tailscale: not on this node\n" or raw["tailscale.json"].strip()
    assert "Udp:" in raw["counters-after/snmp"]
    assert {"iptables.txt", "connections.txt", "qdiscs.txt", "offloads.txt", "journal.txt", "sysctl.txt"} <= set(raw)
    assert not [line for line in raw["sysctl.txt"].splitlines() if "stable_secret" in line or "fastopen_key" in line]
    assert raw["versions.txt"].startswith("preflight ")


@pytest.mark.parametrize("given", [True, False], ids=["of a report", "of a run"])
def test_the_command_packs_and_tells_where(given: bool, tmp_path: Path) -> None:
    """A ticket gets one file; tokens of settings and environment are not in it."""
    home = tmp_path / "home" / "alice"
    home.mkdir(parents=True)
    (home / "token").write_text("from-a-file-000\n")
    (home / "token").chmod(0o600)
    (home / "preflight.yaml").write_text("control: {token_file: token, url: 'http://127.0.0.1:9'}\n")
    environ = {"PATH": os.environ["PATH"], "VOX_MESH_SUBMITTER_TOKEN": "from-the-environment"}

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "preflight", *arguments]
        return subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True, check=False)

    if given:
        run("all", "-q", "--only", "host.*", "--output", "json=report.json", "--debug", "t.jsonl")
    of_a_run = ["report.json", "--timeline", "t.jsonl"] if given else []
    done = run("bundle", "-q", "--output", "b.tar.gz", *of_a_run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "wrote b.tar.gz" in done.stdout
    files = unpacked((home / "b.tar.gz").read_bytes())
    assert "check-ended" in {event.name for event in parse(files["timeline.jsonl"]).events}
    everything = b"\n".join(files.values())
    assert b"token_file: token" in files["evidence/preflight.yaml"]
    assert b"from-a-file-000" not in everything
    assert b"from-the-environment" not in everything
    assert ("evidence/counters-before/snmp" in files) is not given
    assert json.loads(files["report.json"])["tool"]["name"] == "preflight"


def test_the_timeline_goes_through_the_same_redaction() -> None:
    """It may be that of an older run, written when fewer secrets were known: it is cleaned again, with pseudonyms."""
    secret = SECRETS["known"]
    fields = {"to": f"10.66.0.2 {secret}", "detail": "/home/alice/ca.pem", "lines": ["node-seven", secret]}
    events = [Event(1.0, "control.client", f"x {secret}", "request-started", fields)]
    recorded = Recorded(Header(started_at=datetime(2026, 11, 23, tzinfo=UTC), clock_s=0.0), events)
    redactor = Redactor([secret], Pseudonyms(("node-seven",)))
    files = unpacked(make_bundle(made("10.66.0.2 is mute"), [], redactor, addresses=True, timeline=recorded))
    line = files["timeline.jsonl"].decode().splitlines()[1]
    for hidden in (secret, "10.66.0.2", "alice", "node-seven"):
        assert hidden not in line
    assert "192.0.2.1 [redacted]" in line
    manifest = json.loads(files["MANIFEST.json"])
    assert {entry["file"] for entry in manifest["redacted"]} >= {"timeline.jsonl"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--timeline", "t"], "--timeline goes with a REPORT"),
        (["r.json", "--timeline", "none"], "--timeline none: No such file or directory"),
        (["r.json", "--timeline", "t"], "--timeline t is not a timeline of preflight: line 1"),
    ],
)
def test_what_is_no_timeline_is_reported(words: list[str], complaint: str, tmp_path: Path) -> None:
    """Before anything runs or is written."""
    (tmp_path / "r.json").write_text(report_json.render(made("x")))
    (tmp_path / "t").write_text("something else\n")
    command = [sys.executable, "-m", "preflight", "bundle", "-q", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"r.json", "t"}
