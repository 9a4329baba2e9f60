"""Whatever a check of another package does is a result, and everything else runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from preflight.api import Check
from preflight.engine import plugins
from preflight.engine.plugins import declared_by
from preflight.model.plugins import BrokenPlugin

pytestmark = pytest.mark.xdist_group("attack-plugins")
"""What all its tests look at is measured once."""

HEAD = """
import asyncio, os, signal, sys, threading, time
from preflight.api import *
BAD = Code("evil.bad", "Bad")

def shown(data):
    return passed("node", Direction.LOCAL, "", evidence=(Evidence("kind", "summary", data),), aspect="x")
"""
GOOD = """
@check("evil.{name}", title="Good", subject="node", codes=(BAD,))
async def good(ctx):
    yield passed("node", Direction.LOCAL, "fine")
"""

BROKEN_IMPORTS = {
    "sys_exit": "sys.exit(0)",
    "system_exit": "raise SystemExit",
    "keyboard_interrupt": "raise KeyboardInterrupt",
    "base_exception": "class Worse(BaseException): pass\nraise Worse('worse')",
    "generator_exit": "raise GeneratorExit",
    "no_words": "class Mute(Exception):\n    def __str__(self): raise RuntimeError\nraise Mute",
    "escape": "raise RuntimeError('\\x1b[2J\\nPASS  all is well')",
    "syntax": "def (",
    "recursion": "def f(): f()\nf()",
    "memory": "raise MemoryError",
    "os_exit": "os._exit(0)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
}
DECLARATIONS = {
    "id_type": "CHECK(id=5)",
    "id_form": "CHECK(id='x')",
    "id_control": "CHECK(id='evil.x\\n')",
    "title_control": "CHECK(title='\\x1b[2J')",
    "title_empty": "CHECK(title=' ')",
    "category_form": "CHECK(category='no such\\ncategory')",
    "subject_unknown": "CHECK(subject='universe')",
    "codes_type": "CHECK(codes='evil.bad')",
    "codes_of_ours": "CHECK(codes=(Code('mtu.black-hole', 'Nothing to see here', Severity.WARN),))",
    "codes_of_the_runner": "CHECK(codes=(Code('run.fine', 'All is well'),))",
    "timeout_huge": "CHECK(timeout=1e9)",
    "timeout_endless": "CHECK(timeout=float('inf'))",
    "timeout_nan": "CHECK(timeout_per_peer=float('nan'))",
    "timeout_negative": "CHECK(timeout=-1)",
    "timeout_type": "CHECK(timeout='30')",
    "needs_type": "CHECK(needs=[1])",
    "no_function": "CHECK(function='good')",
    "not_async": "CHECK(function=lambda ctx: [])",
    "no_generator": "async def f(ctx): pass\nCHECK(function=f)",
    "plain_generator": "def f(ctx): yield 1\nCHECK(function=f)",
}
MAKE = """
async def good(ctx):
    yield passed("node", Direction.LOCAL, "fine")
def CHECK(**more):
    usual = dict(id="evil.x", title="X", category="evil", subject="node", codes=(BAD,), function=good)
    globals()["declared"] = Check(**(usual | more))
"""
HARMLESS_IMPORTS = {
    "prints": "print('{'); os.write(1, b'{'); os.system('echo {')",
    "handlers": "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "moves": "os.chdir('/')",
    "closes": "sys.stdout.close(); sys.stdout = None",
    "starts_a_process": "os.system('sleep 600 &')",
    "threads": "threading.Thread(target=time.sleep, args=(600,)).start()",
}
CHECK_ERRORS = {
    "sys_exit": "sys.exit(0)",
    "keyboard_interrupt": "raise KeyboardInterrupt",
    "generator_exit": "raise GeneratorExit",
    "cancelled": "raise asyncio.CancelledError",
    "timeout_error": "raise TimeoutError",
    "stop_iteration": "raise StopAsyncIteration",
    "exit_in_a_task": "async def leave(): sys.exit(0)\nasyncio.create_task(leave()); await asyncio.sleep(600)",
    "recursion": "def f(): f()\nf()",
    "memory": "raise MemoryError",
    "os_exit": "os._exit(0)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "no_result": "yield 'pass'",
    "none": "yield None",
    "text_for_a_status": "yield Result(target='node', direction=Direction.LOCAL, status='pass', message='')",
    "bytes_for_a_message": "yield passed('node', Direction.LOCAL, b'fine')",
    "nan": "yield passed('node', Direction.LOCAL, '', measurements={'rtt_ms': float('nan')})",
    "infinity": "yield passed('node', Direction.LOCAL, '', measurements={'rtt_ms': [1.0, float('inf')]})",
    "object_for_a_measurement": "yield passed('node', Direction.LOCAL, '', measurements={'x': object()})",
    "evidence_no_json": "yield shown(object())",
    "evidence_bytes": "yield shown(b'\\xff')",
    "evidence_circle": "x = []; x.append(x); yield shown(x)",
    "evidence_deep": "x = []\nfor _ in range(9999): x = [x]\nyield shown(x)",
    "no_code": "yield Result(target='node', direction=Direction.LOCAL, status=Status.FAIL, message='')",
    "code_of_another": "yield failed(codes.MTU_BLACK_HOLE, 'node', Direction.LOCAL, '')",
    "code_for_the_runner": "yield skipped(Code('run.fine', 'Fine'), 'node', Direction.LOCAL, '')",
    "twice": "yield passed('node', Direction.LOCAL, '')\nyield passed('node', Direction.LOCAL, '')",
}
TIMEOUTS = {
    "sleeps": "time.sleep(600)",
    "computes": "import re; re.match('(a+)+$', 'a' * 64 + 'b')",
    "will_not_end": "while True:\n    try: await asyncio.sleep(600)\n    except asyncio.CancelledError: pass",
    "cleans_up_for_ever": "try: await asyncio.sleep(600)\nfinally: await asyncio.sleep(600)",
    "ignores_signals": "signal.signal(signal.SIGTERM, signal.SIG_IGN); await asyncio.sleep(600)",
}
PASSES = {
    "prints": "print('{'); sys.stdout.write('{'); os.write(1, b'{'); os.system('echo {')",
    "leaves_a_task": "asyncio.create_task(asyncio.sleep(600))",
    "leaves_a_thread": "threading.Thread(target=time.sleep, args=(600,)).start()",
    "leaves_an_executor": "asyncio.create_task(asyncio.to_thread(time.sleep, 600)); await asyncio.sleep(0)",
    "leaves_a_process": "os.system('sleep 600 &')",
    "reads_input": "assert sys.stdin.read() == ''",
    "half_a_pair": "yield shown(['\\udfff', {'\\ud800': 1}])",
}


def install(folder: Path, modules: dict[str, str]) -> None:
    """Put a package of checks called `evil` into a folder, as pip would."""
    package, about = folder / "evil", folder / "evil-1.0.dist-info"
    package.mkdir()
    about.mkdir()
    for name, source in {"__init__": "", **modules}.items():
        (package / f"{name}.py").write_text(f"{HEAD}{source}\n")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[preflight.checks]\nevil = evil\n")


def a_check(name: str, body: str, *, timeout: float = 60) -> str:
    """The source of a check that does what `body` says, and then passes."""
    body = textwrap.indent(body, "    ")
    return (
        f"@check('evil.{name}', title='T', subject='node', codes=(BAD,), timeout={timeout})\n"
        f"async def {name}(ctx):\n{body}\n    yield passed('node', Direction.LOCAL, 'fine')\n"
    )


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start the program where the package is found."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "preflight", *words],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> list[Check | BrokenPlugin]:
    """What comes of a package with every bad import and every bad declaration, and good ones between them."""
    folder = tmp_path_factory.mktemp("imports")
    bad = {**BROKEN_IMPORTS, **{name: f"{MAKE}\n{source}" for name, source in DECLARATIONS.items()}}
    good = {**{name: f"{source}\n" for name, source in HARMLESS_IMPORTS.items()}, "zzz_last": ""}
    install(folder, {**bad, **{name: source + GOOD.format(name=name) for name, source in good.items()}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        return declared_by("evil", "evil")


@pytest.mark.parametrize("name", [*BROKEN_IMPORTS, *DECLARATIONS])
def test_a_package_that_breaks_is_reported_by_module(declared: list[Check | BrokenPlugin], name: str) -> None:
    """What an import raises or ends, and what is declared wrongly, is one line with the module's name."""
    (broken,) = [b for b in declared if isinstance(b, BrokenPlugin) and b.name.split(".")[1] == name]
    assert broken.reason.isprintable()


@pytest.mark.parametrize("name", [*HARMLESS_IMPORTS, "zzz_last"])
def test_the_other_modules_of_a_broken_package_still_count(declared: list[Check | BrokenPlugin], name: str) -> None:
    """Printing, handlers, threads and another folder are the module's own business."""
    assert f"evil.{name}" in [check.id for check in declared if isinstance(check, Check)]


def test_an_import_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that blocks at import costs its time limit, and only itself."""
    install(tmp_path, {"a": GOOD.format(name="a"), "b": "while True: pass", "c": GOOD.format(name="c")})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(plugins, "IMPORT_SECONDS", 6.0)
    first, last, broken = declared_by("evil", "evil")
    assert isinstance(first, Check)
    assert isinstance(last, Check)
    assert (first.id, last.id) == ("evil.a", "evil.c")
    assert broken == BrokenPlugin("evil", "evil.b", "its import did not end within 6 s")


def test_an_entry_point_that_is_none_is_reported(tmp_path: Path) -> None:
    """What names no module at all is broken under its own name; the package's others are used."""
    install(tmp_path, {"checks": GOOD.format(name="good")})
    with (tmp_path / "evil-1.0.dist-info" / "entry_points.txt").open("a") as points:
        points.write("nonsense = no module!\n")
    with start(tmp_path, "list") as running:
        said, complaints = running.communicate()
    assert running.returncode == 0
    assert "evil.good" in said
    assert "broken: evil: nonsense: 'no module!' names no module" in said + complaints


def test_needs_that_go_in_a_circle_harm_nobody_else(tmp_path: Path) -> None:
    """Checks that need one another, or something that does not exist, are broken; the run goes on."""
    needy = "@check('evil.{}', title='T', subject='node', codes=(), needs=('evil.{}',))\nasync def {}(ctx): yield\n"
    install(tmp_path, {"x": "".join(needy.format(*names) for names in ("aba", "bab", "cac", "dzd"))})
    with start(tmp_path, "run", "host.clock", "-q", "--output", "json") as done:
        results = json.loads(done.communicate()[0])["results"]
    assert [r["code"] for r in results if r["check"] == "run.plugins"] == ["run.plugin-broken"] * 4
    assert [r["check"] for r in results if r["check"] == "host.clock"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results of one run with every bad check and one of ours; standard output was only the report."""
    folder = tmp_path_factory.mktemp("checks")
    checks = [a_check(name, body, timeout=1) for name, body in TIMEOUTS.items()]
    checks += [a_check(f"e_{name}", body) for name, body in CHECK_ERRORS.items()]
    checks += [a_check(f"p_{name}", body) for name, body in PASSES.items()]
    install(folder, {"checks": "\n".join(checks)})
    with start(folder, "run", "evil.*", "host.clock", "--output", "json") as done:
        report = json.loads(done.communicate()[0])
    assert done.returncode == report["run"]["exit_code"] == 4
    return {result["id"]: result for result in report["results"]}


@pytest.mark.parametrize("name", CHECK_ERRORS)
def test_a_check_that_breaks_is_an_error(ran: dict[str, dict[str, Any]], name: str) -> None:
    """Whatever a check raises, ends or returns wrongly is `run.check-error`, never the end of the run."""
    result = ran[f"evil.e_{name}/node/local/error"]
    assert (result["status"], result["code"]) == ("error", "run.check-error")


@pytest.mark.parametrize("name", TIMEOUTS)
def test_a_check_that_will_not_end_is_left_behind(ran: dict[str, dict[str, Any]], name: str) -> None:
    """A check that blocks, or does not end when asked to, is `run.timeout` after its time and a grace."""
    result = ran[f"evil.{name}/node/local/timeout"]
    assert (result["status"], result["code"]) == ("inconclusive", "run.timeout")


@pytest.mark.parametrize("name", PASSES)
def test_what_a_check_leaves_or_prints_holds_up_nobody(ran: dict[str, dict[str, Any]], name: str) -> None:
    """What a check prints goes to standard error; its tasks and threads end with it."""
    assert ran[f"evil.p_{name}/node/local"]["status"] == "pass"


def test_the_other_checks_run(ran: dict[str, dict[str, Any]]) -> None:
    """Together with all these, a check of ours gives its result."""
    assert ran["host.clock/node/local"]["status"] in ("pass", "warn")


@pytest.mark.parametrize(
    ("number", "body"),
    [
        pytest.param(signal.SIGTERM, "while True: time.sleep(1)", id="SIGTERM while it blocks"),
        pytest.param(signal.SIGINT, "await asyncio.sleep(600)", id="SIGINT while it waits"),
    ],
)
def test_one_signal_ends_the_run_with_its_report(tmp_path: Path, number: int, body: str) -> None:
    """Whatever a check does, one signal is enough: the report is written, with what had finished."""
    install(tmp_path, {"checks": a_check("stuck", f"print('stuck', flush=True)\n{body}")})
    with start(tmp_path, "run", "evil.stuck", "host.clock", "--output", "json=report.json") as running:
        read_until(running, "stuck", "host.clock")
        running.send_signal(number)
        running.communicate()
    assert running.returncode == 130
    report = json.loads((tmp_path / "report.json").read_text())
    assert {r["check"]: r["code"] for r in report["results"]}["evil.stuck"] == "run.interrupted"


def test_a_signal_before_the_first_check_is_an_interruption(tmp_path: Path) -> None:
    """Ctrl-C while a package is still imported ends the program with 130, as later."""
    install(tmp_path, {"checks": "print('importing', flush=True)\nimport time\ntime.sleep(600)"})
    with start(tmp_path, "run", "host.clock") as running:
        read_until(running, "importing")
        running.send_signal(signal.SIGINT)
        running.communicate()
    assert running.returncode == 130


def test_one_signal_ends_the_watch(tmp_path: Path) -> None:
    """`watch` ends in the middle of a round."""
    install(tmp_path, {"checks": a_check("stuck", "print('stuck', flush=True)\nawait asyncio.sleep(600)")})
    with start(tmp_path, "watch", "evil.stuck") as running:
        read_until(running, "stuck")
        running.terminate()
        assert running.communicate() == ("", "")
    assert running.returncode == 130


def test_one_signal_ends_the_exporter(tmp_path: Path) -> None:
    """`exporter` answers and ends although a check in the background hangs."""
    install(tmp_path, {"checks": a_check("stuck", "print('stuck', flush=True)\nawait asyncio.sleep(600)")})
    with start(tmp_path, "exporter", "--bind", "127.0.0.1:0") as running:
        assert running.stdout
        port = int(running.stdout.readline().rpartition(":")[2])
        read_until(running, "stuck")
        with socket.create_connection(("127.0.0.1", port)) as scrape, scrape.makefile("rb") as answer:
            scrape.sendall(b"GET /probe HTTP/1.0\r\n\r\n")
            assert b"preflight_pending 1.0" in answer.read()
        running.terminate()
        running.communicate()
    assert running.returncode == 0


def read_until(running: "subprocess.Popen[str]", *words: str) -> None:
    """Read standard error until all words have come."""
    said = ""
    for line in running.stderr or ():
        said += line
        if all(word in said for word in words):
            return
    raise AssertionError(said)
