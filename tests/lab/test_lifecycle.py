"""Labs come and go: idempotent, in parallel, and nothing is left of them, whatever happened."""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preflight.lab import labs, processes
from preflight.lab.names import EVERYWHERE, LabError, LabNames, UnknownLabError
from preflight.lab.network import WIREGUARD_SOCKETS

pytestmark = [pytest.mark.lab, pytest.mark.needs("ping")]
PREFLIGHT = [sys.executable, "-m", "preflight"]


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A name that no other test has; what is left of it is removed."""
    name = f"test-{secrets.token_hex(4)}"
    yield name
    if remains(name):
        labs.take_down(name)


def remains(name: str) -> list[str]:
    """Everything on this machine that carries the lab's name."""
    names = LabNames.of(name)
    files = [names.directory]
    for node in EVERYWHERE:
        files += [names.namespace_file(node), WIREGUARD_SOCKETS / f"{names.tunnel(node)}.sock", names.etc(node)]
    marks = {pid: processes.mark_of(pid) or "" for pid in processes.all_pids()}
    running = [f"process {pid} {mark}" for pid, mark in marks.items() if mark.startswith(names.mark(""))]
    return [str(file) for file in files if file.exists()] + running


def preflight(*words: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*PREFLIGHT, *words], capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def pings(lab: labs.Lab) -> bool:
    """Whether a's and b's ends of the tunnel talk."""
    words = lab.command(["ping", "-c1", "-W2", "-q", "10.66.0.2"])
    return subprocess.run(words, env=lab.environment(), capture_output=True, check=False).returncode == 0


def test_up_and_down(lab_name: str) -> None:
    """Protects the life of a lab as users see it: up, up again, used, down, gone."""
    first = preflight("lab", "up", lab_name)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.splitlines()[0] == f"lab {lab_name} is up (pair, wireguard)"
    assert preflight("lab", "up", lab_name).stdout.splitlines()[0].endswith("as it was before")
    assert f"  {lab_name} " in preflight("lab", "list").stdout
    shown = preflight("lab", "exec", lab_name, "b", "--", "ip", "-o", "-4", "address", "show", "scope", "global")
    assert "10.66.0.2/24" in shown.stdout
    assert remains(lab_name)
    assert preflight("lab", "down", lab_name).stdout == f"lab {lab_name} is down\n"
    assert remains(lab_name) == []


def test_two_labs_side_by_side(lab_name: str) -> None:
    """Protects labs from one another: the same addresses, and one stays whole when the other goes."""
    one, _ = labs.take_up(lab_name, "pair", None)
    with labs.lab_for("hub") as other:
        assert pings(one)
        assert pings(other)
    assert remains(other.name) == []
    assert pings(one)
    assert not labs.take_up(lab_name, None, None)[1]


def end_daemon(mark: str) -> None:
    """End the process that has this mark."""
    processes.end(lambda pid: processes.mark_of(pid) == mark)


def test_up_repairs(lab_name: str) -> None:
    """Protects `lab up` after something died: what is not whole is built again, and works."""
    lab, built = labs.take_up(lab_name, "pair", None)
    for damage in ("responder", "tunnel-b", "namespace", "record"):
        assert built, damage
        if damage == "namespace":
            subprocess.run(["ip", "netns", "del", lab.names.namespace("c")], check=True)
        elif damage == "record":
            (lab.names.directory / "state.json").unlink()
        else:
            end_daemon(lab.names.mark(damage))
        lab, built = labs.take_up(lab_name, "pair", None)
    assert built
    assert pings(lab)


def test_up_does_not_replace_another_lab(lab_name: str) -> None:
    """Protects a lab in use from a second `up` that means another scenario."""
    labs.take_up(lab_name, "solo", None)
    with pytest.raises(LabError, match="is up as solo; take it down first"):
        labs.take_up(lab_name, "pair", None)


SIGHTS: dict[str, Callable[[LabNames], Path]] = {
    "directory": lambda names: names.directory,
    "namespaces": lambda names: names.namespace_file("a"),
    "tunnels": lambda names: WIREGUARD_SOCKETS / f"{names.tunnel('a')}.sock",
    "daemons": lambda names: names.directory / "control.log",
}


def interrupt_at(sight: Path, words: list[str], sign: signal.Signals) -> "subprocess.Popen[str]":
    """Start a command and signal it as soon as a file is there."""
    child = subprocess.Popen([*PREFLIGHT, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 20
    while not sight.exists() and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)  # leaves the processor to the command
    child.send_signal(sign)
    child.communicate(timeout=30)
    return child


@pytest.mark.parametrize("sight", SIGHTS)
def test_down_after_a_crash(lab_name: str, sight: str) -> None:
    """Protects the machine after `kill -9` in the middle of `up`: down works from the name alone."""
    names = LabNames.of(lab_name)
    child = interrupt_at(SIGHTS[sight](names), ["lab", "up", lab_name], signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert remains(lab_name)
    labs.take_down(lab_name)
    assert remains(lab_name) == []


# One handler takes both signals: SIGTERM once, and at every sight with PREFLIGHT_EVERY_FAULT=1.
INTERRUPTED = [
    *((sight, signal.SIGINT) for sight in SIGHTS),
    *((sight, signal.SIGTERM) for sight in (SIGHTS if os.environ.get("PREFLIGHT_EVERY_FAULT") else ("tunnels",))),
]


@pytest.mark.parametrize(("sight", "sign"), INTERRUPTED)
def test_interrupted_up(lab_name: str, sight: str, sign: signal.Signals) -> None:
    """Protects the machine from Ctrl-C and from service managers: an unfinished lab takes itself down."""
    child = interrupt_at(SIGHTS[sight](LabNames.of(lab_name)), ["lab", "up", lab_name], sign)
    assert child.returncode == 130
    assert remains(lab_name) == []


def test_lab_for_one_command_leaves_nothing() -> None:
    """Protects `--lab pair`: the lab is there inside, with clean variables, and gone outside."""
    with labs.lab_for("pair") as lab:
        assert lab.kind == "wireguard"
        assert lab.environment()["PREFLIGHT_LAB_KIND"] == "wireguard"
        assert pings(lab)
    assert remains(lab.name) == []


def test_lab_for_a_command_that_fails() -> None:
    """Protects the machine from exceptions in the command: they pass, and the lab goes."""
    seen: list[labs.Lab] = []

    def fail() -> None:
        with labs.lab_for("solo") as lab:
            seen.append(lab)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert remains(seen[0].name) == []


def test_left_behind_labs_go_with_the_next(lab_name: str) -> None:
    """Protects the machine from killed runs: the next `--lab` removes what nobody holds, and spares what is up."""
    labs.take_up(lab_name, "solo", None)
    words = ["import sys, os, signal", "from preflight.lab.labs import lab_for", "with lab_for('solo') as lab:"]
    code = "\n".join([*words, "    print(lab.name, flush=True)", "    os.kill(os.getpid(), signal.SIGKILL)"])
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    left = killed.stdout.strip()
    assert remains(left)
    with labs.lab_for("loopback"):
        assert remains(left) == []
        assert remains(lab_name)


def test_every_use_of_a_running_lab_has_a_fresh_token(lab_name: str) -> None:
    """Protects the second `--lab NAME`: the one-time token of the first may be spent, so there is a new one."""
    labs.take_up(lab_name, "solo", None)
    tokens = []
    for _ in range(2):
        with labs.lab_for(lab_name) as lab:
            words = lab.preflight_arguments()
            token = Path(words[words.index("--bootstrap-token-file") + 1]).read_text().strip()
            tokens.append(token)
            assert exchange(lab, token) == 200
            assert exchange(lab, token) == 410
    assert len(set(tokens)) == 2
    assert remains(lab_name)


def exchange(lab: labs.Lab, token: str) -> int:
    """The status of a bootstrap exchange on node a."""
    body = json.dumps({"bootstrap_token": token})
    url = lab.state.places.url("http://{control}:{port}/v1/populi/bootstrap/exchange")
    code = "\n".join(
        [
            "import sys, urllib.request, urllib.error",
            "body, kind = sys.stdin.buffer.read(), {'Content-Type': 'application/json'}",
            "request = urllib.request.Request(sys.argv[1], body, kind)",
            "try: print(urllib.request.urlopen(request, timeout=5).status)",
            "except urllib.error.HTTPError as error: print(error.code)",
        ]
    )
    words = lab.command([sys.executable, "-c", code, url])
    done = subprocess.run(words, env=lab.environment(), input=body, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize(
    ("condition", "status"), [("spent", 410), ("expired", 410), ("invalid", 401), ("disabled", 404)]
)
def test_bootstrap_conditions(condition: str, status: int) -> None:
    """Protects the enrolment scenarios: the control plane answers what the row says."""
    with labs.lab_for(f"bootstrap-{condition}") as lab:
        token = (lab.names.files("a") / "bootstrap-token").read_text().strip()
        assert exchange(lab, token) == status


def test_name_servers_of_a_node() -> None:
    """Protects the name scenarios: a asks the lab's name server, and finds the control plane on the overlay."""
    with labs.lab_for("healthy-dns") as lab:
        words = lab.command(["getent", "ahostsv4", "control.overlay.test"])
        found = subprocess.run(words, env=lab.environment(), capture_output=True, text=True, check=True)
        assert found.stdout.split()[0] == "10.66.0.3"
    assert remains(lab.name) == []


def unprivileged() -> list[str]:
    """Words in front of a command that drop root; reading is left, as the interpreter may be root's."""
    if os.geteuid() != 0:
        return []
    only = "-all,+dac_read_search"
    sets = [f"--inh-caps={only}", f"--ambient-caps={only}", f"--bounding-set={only}"]
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *sets]


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A directory of the unprivileged user's; pytest's own lie below one of root's."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        yield Path(folder)


def test_loopback_without_root(runtime: Path, lab_name: str) -> None:
    """Protects users without root: the lab is loopback, says so, and comes and goes as the real one."""
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "HOME": str(runtime)}

    def lab(*words: str) -> "subprocess.CompletedProcess[str]":
        argv = [*unprivileged(), *PREFLIGHT, "lab", *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)

    up = lab("up", lab_name, "--topology", "pair")
    assert up.stdout.splitlines()[0] == f"lab {lab_name} is up (pair, loopback)"
    assert up.stderr == "without root there are no tunnels: this lab is loopback\n"
    assert lab("up", lab_name).stdout.splitlines()[0].endswith("as it was before")
    printed = lab("exec", lab_name, "a", "--", "env")
    assert "PREFLIGHT_LAB_KIND=loopback" in printed.stdout
    assert "needs root" in lab("up", "other", "--scenario", "drop-forward").stderr
    assert lab("down", lab_name).returncode == 0
    assert list((runtime / "preflight-lab").iterdir()) == []
    assert not any(str(runtime) in (processes.mark_of(pid) or "") for pid in processes.all_pids())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lab", "down", "piar"], "no lab 'piar' is up"),
        (["lab", "up", "x", "--topology", "par"], "did you mean pair?"),
        (["lab", "up", "x", "--scenario", "blackhole-forward"], "did you mean black-hole-forward"),
        (["lab", "up", "x", "--scenario", "solo-drop", "--topology", "hub"], "happens in the topology solo"),
        (["lab", "up", "../x"], "is not a valid name for a lab"),
        (["lab", "run", "healty"], "did you mean healthy"),
        (["lab", "run"], "name scenarios"),
        (["lab", "run", "healthy", "--output", "junit"], "scores come as text or json"),
        (["lab", "exec", "nowhere", "a", "ls"], "no lab 'nowhere' is up"),
    ],
)
def test_mistakes(words: list[str], said: str) -> None:
    """Protects the user who mistypes: one sentence with what was meant, exit code 2, nothing built."""
    done = preflight(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_unknown_name_for_one_command() -> None:
    """Protects `--lab NAME` likewise."""
    with pytest.raises(UnknownLabError, match="did you mean solo"), labs.lab_for("sollo"):
        pass
