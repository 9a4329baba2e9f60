"""Nothing is green by mistake, and an option that cannot be right runs nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from preflight.api import Direction, Result, Status, codes, failed, inconclusive, passed, skipped
from preflight.cli.exporter import halves, make_app, make_rounds
from preflight.cli.request import Request
from preflight.cli.session import Session
from preflight.engine.catalog import load_catalog
from preflight.engine.plan import Selection, make_plan
from preflight.engine.repeat import merge
from preflight.engine.runner import Outcome
from preflight.report.json import parse
from tests.attack import program
from tests.attack.program import CLOSED, Preflight, is_refused

preflight = program.preflight


SKIP_ALL = 'checks: {skip: ["*"]}'


@pytest.mark.parametrize(
    ("arguments", "settings", "phrases"),
    [
        (["all", "--skip", "*"], "", ["all leaves no check to run", "left out by --skip '*'"]),
        (["run", "control.url", "--skip", "control.*"], "", ["control.url: left out by --skip 'control.*'"]),
        (["run", "control.url", "host.*", "--skip", "control.url"], "", ["control.url leaves no check to run"]),
        (["all", "--only", "udp.nat-timeout"], "", ["udp.nat-timeout: opt-in, add --tag slow"]),
        (["all", "--only", "mtu.*", "--only", "udp.nat-timeout"], "", ["--only udp.nat-timeout leaves no check"]),
        (["run", "mtu.path", "--only", "udp.*"], "", ["mtu.path leaves no check to run; mtu.path: left out by --only"]),
        (["run", "mtu.path", "--tag", "slow"], "", ["--tag slow leaves no check to run", "not among the named"]),
        (["all", "--tag", "slow", "--skip", "udp.nat-*"], "", ["--tag slow leaves no check to run", "'udp.nat-*'"]),
        (["all", "--tag", "slwo"], "", ["no check has the tag 'slwo'; nearest: slow"]),
        (["all", "--tag", ""], "", ["no check has the tag ''"]),
        (["run", ""], "", ["no check is called ''"]),
        (["all"], SKIP_ALL, ["all leaves no check to run", "left out by checks.skip '*' in preflight.yaml"]),
        (["run", "mtu.path"], SKIP_ALL, ["mtu.path: left out by checks.skip '*' in preflight.yaml"]),
        (["all"], 'checks: {skip: ["mtu.pth"]}', ["preflight.yaml: checks.skip: no check is called 'mtu.pth'"]),
        (["watch", "--skip", "*"], "", ["left out by --skip '*'"]),
        (["watch", "mtu.path", "--skip", "mtu.*"], "", ["mtu.path: left out by --skip 'mtu.*'"]),
        (["watch"], SKIP_ALL, ["checks.skip '*' in preflight.yaml"]),
        (["exporter"], SKIP_ALL, ["checks.skip '*' in preflight.yaml"]),
        (["bundle"], SKIP_ALL, ["checks.skip '*' in preflight.yaml"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "file" if value else "options",
)
def test_selection(preflight: Preflight, arguments: list[str], settings: str, phrases: list[str]) -> None:
    """A selection that leaves nothing of what was asked for runs nothing, exits 2, and says what left out what."""
    is_refused(preflight(*arguments, settings=settings), *phrases)


@pytest.mark.parametrize(
    ("kept", "codes_of_scrapes"),
    [("reach.icmp", {"": 404, "b": 200}), ("host.sockets", {"": 200, "b": 404})],
    ids=["nothing about the node", "nothing about peers"],
)
def test_scrape(tmp_path: Path, preflight: Preflight, kept: str, codes_of_scrapes: dict[str, int]) -> None:
    """An exporter whose settings leave no check of one kind never answers for it as if all were well."""
    left_out = [check.id for check in load_catalog().checks if check.id != kept]
    (tmp_path / "preflight.yaml").write_text(
        json.dumps({"peers": [{"address": "127.0.0.9", "name": "b"}], "checks": {"skip": left_out}})
    )
    session = Session.prepare(Request(quiet=True))
    app = make_app(session, make_rounds(session, 60))

    async def scrape(target: str) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://exporter") as client:
            return (await client.get("/probe", params={"target": target} if target else {})).status_code

    assert {target: asyncio.run(scrape(target)) for target in codes_of_scrapes} == codes_of_scrapes


def test_what_checks_of_a_peer_need_does_not_speak_for_them() -> None:
    """A scrape of a peer is judged by the checks about peers alone."""
    plan = make_plan(load_catalog().checks, Selection())
    path, node = halves(plan)
    about_peers = {check.id for check in plan.checks if check.subject == "peer"}
    assert [set(ids) for ids in path.asked.values()] == [about_peers]
    assert {check.id for check in path.checks} > about_peers
    assert [set(ids) for ids in node.asked.values()] == [{check.id for check in plan.checks} - about_peers]


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A healthy control plane, ours; its URL."""
    folder = tmp_path_factory.mktemp("control")
    command = [sys.executable, "-P", "-m", "preflight", "control-plane", "serve", "--bind", "127.0.0.1:0", "--db", "db"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().removeprefix("listening on ").strip()
        process.terminate()


@pytest.mark.parametrize(
    ("named", "code", "verdict"),
    [(["enroll.cycle"], 3, "inconclusive"), (["enroll.cycle", "control.url"], 0, "pass")],
    ids=["alone", "beside another"],
)
def test_named_and_skipped(
    preflight: Preflight, control_plane: str, tmp_path: Path, named: list[str], code: int, verdict: str
) -> None:
    """If all named checks were skipped, the run does not pass, whatever its needs say; a skipped part is listed."""
    formats = ("json", "markdown", "html", "sarif", "junit")
    outputs = [word for format in formats for word in ("--output", f"{format}={tmp_path / format}")]
    done = preflight("run", *named, "--control-url", control_plane, "-q", "--output", "text", *outputs)
    sentence = "enroll.cycle was skipped completely: bootstrap writes to the cluster"
    assert done.code == code, done
    assert f"{verdict.upper()} " in done.out
    assert sentence in " ".join(done.out.split())
    again = preflight("report", "render", str(tmp_path / "json"))
    assert again.out == done.out
    report = parse((tmp_path / "json").read_bytes())
    assert (report.verdict, report.run.exit_code, report.summary.fail) == (verdict, code, 0)
    assert report.summary.pass_ > 0
    for format in formats[:-1]:
        assert sentence in (tmp_path / format).read_text().replace("\\", "")
    assert "<failure" not in (tmp_path / "junit").read_text()


@pytest.mark.parametrize("named", ["udp.stun", "enroll.cycle"])
@pytest.mark.parametrize("lenient", [[], ["--allow-inconclusive"], ["--fail-on", "warn"]], ids=" ".join)
def test_skips_alone(preflight: Preflight, control_plane: str, named: str, lenient: list[str]) -> None:
    """No gate makes a run good that only skipped what it was asked for, and stderr says why where no report does."""
    done = preflight("run", named, "--control-url", control_plane, "-q", "--output", "json=r.json", *lenient)
    assert (done.code, done.out) == (3, "")
    assert f"preflight: {named} was skipped completely: " in done.said


def test_watch_says_why_it_is_not_green(preflight: Preflight) -> None:
    """A round that only skipped says so, and ends with 3."""
    done = preflight("watch", "udp.stun", "--count", "1")
    assert done.code == 3
    assert "now     inconclusive: 1 result, 0 causes" in done.out
    assert "now     udp.stun was skipped completely: no STUN server is set" in done.out


def test_the_undecided_are_excepted_aloud(preflight: Preflight) -> None:
    """--allow-inconclusive excuses what is undecided if something else passed, and says so; it makes nothing pass."""
    both = ["run", "reach.icmp", "control.url", "--skip", "overlay.interface", "--control-url", CLOSED]
    assert preflight(*both, "-q").code == 3
    done = preflight(*both, "-q", "--allow-inconclusive")
    assert done.code == 0
    assert "undecided, but allowed by --allow-inconclusive: overlay.route, overlay.session, reach.icmp" in " ".join(
        done.out.split()
    )
    alone = preflight("run", "reach.icmp", "--skip", "overlay.interface", "-q", "--allow-inconclusive")
    assert alone.code == 3
    assert "nothing that was requested passed" in alone.out


def test_worse_outweighs_undecided(preflight: Preflight, tmp_path: Path) -> None:
    """Of several reasons the contract puts 1 first: what got worse since the baseline is not hidden by a 3."""
    run = ["run", "reach.icmp", "control.url", "--skip", "overlay.interface", "--control-url", CLOSED, "-q"]
    assert preflight(*run, "--output", "json=before.json").code == 3
    before = json.loads((tmp_path / "before.json").read_text())
    for result in before["results"]:
        result.update(status="pass", code=None)
    counts = {status.value: 0 for status in Status} | {"pass": len(before["results"])}
    before.update(verdict="pass", summary=counts, diagnosis=[], remarks=[])
    before["run"]["exit_code"] = 0
    (tmp_path / "before.json").write_text(json.dumps(before))
    assert preflight(*run, "--baseline", "before.json").code == 1


def stamped(result: Result) -> Result:
    return replace(result, check="a.b", category="a")


FAILED = stamped(failed(codes.MTU_BLACK_HOLE, "b", Direction.FORWARD, "gone"))
CUT_OFF = stamped(inconclusive(codes.RUN_TIMEOUT, "b", Direction.FORWARD, "the time limit of the run came first"))
STOPPED = stamped(inconclusive(codes.RUN_INTERRUPTED, "b", Direction.FORWARD, "ended by the user"))
BLOCKED = stamped(skipped(codes.RUN_BLOCKED, "b", Direction.LOCAL, "a.a did not pass", blocked_by="a.a/node/local"))
GOOD = stamped(passed("b", Direction.FORWARD, "there"))


@pytest.mark.parametrize(
    ("first", "later", "stands"),
    [(FAILED, CUT_OFF, FAILED), (FAILED, STOPPED, FAILED), (FAILED, GOOD, GOOD), (BLOCKED, CUT_OFF, CUT_OFF)],
    ids=["time over", "interrupted", "healed", "unblocked, then time over"],
)
def test_attempts(first: Result, later: Result, stands: Result) -> None:
    """With --wait an attempt that was cut off does not turn an earlier failure into something undecided."""
    merged = merge(Outcome((first,)), Outcome((later,)), 2)
    assert [(result.status, result.code) for result in merged.results] == [(stands.status, stands.code)]


def test_interrupted_while_it_waits(tmp_path: Path) -> None:
    """Ctrl-C between two attempts of --wait is an interruption like any other: 130, and the report is written."""
    command = [sys.executable, "-P", "-m", "preflight", "run", "control.connect", "--control-url", CLOSED]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    outputs = ["--wait", "60", "--output", "json=r.json"]
    with subprocess.Popen([*command, *outputs], cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "control.connect" in line:
                break
        run.send_signal(signal.SIGINT)
        rest = run.stderr.read()
        assert run.wait(30) == 130, rest
    assert json.loads((tmp_path / "r.json").read_text())["run"]["exit_code"] == 130


ENDLESS = ["nan", "inf", "-inf", "-1", "1e300", "soon"]


@pytest.mark.parametrize(
    "arguments",
    [
        *(["all", option, value] for option in ("--timeout", "--wait") for value in ENDLESS),
        *(["watch", option, value] for option in ("--interval", "--for") for value in ENDLESS),
        ["all", "--timeout", "0"],
        ["watch", "--interval", "0"],
        *(
            ["all", "--control-url", url]
            for url in ("ht!tp://x", "", " ", "ftp://h", "http://", "h:0", "h:99999", "http://[::", "a b", "http:/h")
        ),
        *(
            ["all", "--peer", peer]
            for peer in (
                "",
                "0.0.0.0",
                "::",
                "224.0.0.1",
                "ff02::1",
                "255.255.255.255",
                "::ffff:0.0.0.0",
                "10.0.0.0/24",
            )
        ),
        *(
            ["all", "--peer", f"10.0.0.1={name}"]
            for name in ("node", "control", "a/b", "a\x1b[31m", "a\nb", "\u202eb", "x" * 300)
        ),
        ["all", "--peer", "10.0.0.1=b", "--peer", "10.0.0.1=c"],
        ["all", "--enroll", "--bootstrap-token-file", "none", "--credentials-out", "c"],
        ["all", "--enroll", "--bootstrap-token-file", ".", "--credentials-out", "c"],
        ["all", "--enroll", "--bootstrap-token-file", "/dev/zero", "--credentials-out", "c"],
        ["all", "--config", "/dev/zero"],
        ["responder", "--control-url", "ht!tp://x"],
    ],
    ids=lambda arguments: ascii(" ".join(arguments))[:60],
)
def test_option(preflight: Preflight, arguments: list[str]) -> None:
    """A value that cannot be right is one sentence and exit code 2, before anything runs."""
    done = preflight(*arguments)
    is_refused(done)
    assert "Traceback" not in done.err
    assert done.err.isascii() or "\u202e" not in done.err
    assert "\x1b" not in done.err


@pytest.mark.parametrize("source", ["variable", "file"])
def test_a_url_of_this_node_that_cannot_be_used_is_a_finding(preflight: Preflight, source: str) -> None:
    """What is wrong on the node is diagnosed; only what the caller typed is a usage error."""
    url = "ht!tp://x"
    if source == "variable":
        done = preflight("run", "control.url", "-q", VOX_MESH_CONTROL_ADDR=url)
    else:
        done = preflight("run", "control.url", "-q", settings=json.dumps({"control": {"url": url}}))
    assert done.code == 1
    assert "control.url-invalid" in done.out


@pytest.mark.parametrize(
    "settings",
    [
        "thresholds: {loss_fail_percent: .nan}",
        "thresholds: {jitter_ms: .inf}",
        "thresholds: {rtt_ms: {training: .nan}}",
        "checks: {nat_silence_s: [.nan]}",
        "control: {timeout_ms: 99999999999999999999}",
        "peers: [{address: 0.0.0.0}]",
        "peers: [{address: 10.0.0.1, name: control}]",
        'peers: [{address: 10.0.0.1, name: "a\\nb"}]',
    ],
)
def test_limit(preflight: Preflight, settings: str) -> None:
    """A limit that is not a number would let everything through; a peer that does not exist would never be measured."""
    is_refused(preflight("all", settings=settings), "preflight.yaml:1: ")


@pytest.mark.parametrize("number", ["9" * 400, "9" * 5000, "-1", "1e5", "many"])
def test_variable(preflight: Preflight, number: str) -> None:
    """Absurd numbers in the workers' variables count as unset; they raise no exception."""
    done = preflight(
        "run",
        *("control.url", "--control-url", CLOSED, "-q"),
        VOX_ORCHESTRATOR_MESH_HTTP_TIMEOUT_MS=number,
        VOX_MESH_MAX_STALE_MS=number,
    )
    assert done.code == 0


def test_nobody_pretends_to_be_a_lab(preflight: Preflight) -> None:
    """The variable by which a lab shows its kind holds one of the known kinds, or nothing runs."""
    is_refused(preflight("all", PREFLIGHT_LAB_KIND="production"), "PREFLIGHT_LAB_KIND")
