"""The applier runs what the fix says, by absolute paths, and brings back what was there."""

import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from preflight.fixing.applier import Ran, apply, located, overwrite, run_here, undo
from preflight.fixing.step import FixError
from preflight.model.change import Command, NamedValue
from preflight.model.fix import (
    BearerFromWorkerToken,
    Environment,
    HostsName,
    LinkAddresses,
    LinkMtu,
    PastProxy,
    PrivateFiles,
    ResponderStart,
    Setting,
)

URL = "http://10.66.0.3:9847"


class Machine:
    """Runs nothing: answers each command with what was prepared, by its last words."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.ran: list[Command] = []

    def __call__(self, argv: Sequence[str]) -> Ran:
        """Run one command."""
        assert Path(argv[0]).is_absolute()
        self.ran.append((Path(argv[0]).name, *argv[1:]))
        failing = self.answers.get("failing")
        if failing is not None and failing in argv and "del" not in argv:
            return Ran(2, "", "RTNETLINK answers: no\n")
        return Ran(0, self.answers["shown"] if "show" in argv else "")


def test_a_change_is_made_and_undone() -> None:
    """Protects the way back: the commands that undo a fix are kept with what was done."""
    machine = Machine(shown='[{"mtu": 1420}]')
    done = apply(LinkMtu(interface="wg0", mtu_bytes=1312), machine)
    assert done.commands == (("ip", "link", "set", "dev", "wg0", "mtu", "1312"),)
    undo(done, machine)
    assert machine.ran[-1] == ("ip", "link", "set", "dev", "wg0", "mtu", "1420")
    assert done.reversible


def test_half_a_fix_is_undone() -> None:
    """Protects from a node that is neither as it was nor as it should be."""
    machine = Machine(shown="[]", failing="fd66::1/64")
    with pytest.raises(FixError, match="ip address add failed: RTNETLINK answers: no"):
        apply(LinkAddresses(interface="wg0", addresses=("10.66.0.1/24", "fd66::1/64")), machine)
    assert machine.ran[-1] == ("ip", "address", "del", "10.66.0.1/24", "dev", "wg0")


def test_a_settings_file_is_changed_and_brought_back(tmp_path: Path) -> None:
    """Its comments, its mode and whatever else is in it stay."""
    file = tmp_path / "preflight.yaml"
    file.write_text("# mine\ncontrol: {url: old}\n")
    file.chmod(0o600)
    done = apply(Setting(file=str(file), key="control.url", value=URL))
    assert file.read_text() == f'# mine\ncontrol: {{url: "{URL}"}}\n'
    undo(done)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("# mine\ncontrol: {url: old}\n", 0o600)
    with pytest.raises(FixError, match="cannot be read"):
        apply(Setting(file=str(tmp_path / "none.yaml"), key="control.url", value=URL))


def test_files_are_closed_for_others_and_opened_again(tmp_path: Path) -> None:
    """The real chmod and stat, also for a name with a space and signs of the shell."""
    file = tmp_path / "a token; $(id)"
    file.write_text("x")
    file.chmod(0o644)
    done = apply(PrivateFiles(paths=(str(file),)))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    undo(done)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_the_environment_is_handed_to_the_caller() -> None:
    """No process can change the environment of another one: the caller starts the next run with it."""
    name = "VOX_ORCHESTRATOR_MESH_CONTROL_URL"
    done = apply(Environment(variables=(NamedValue(name, URL),)), environ={name: "old"})
    assert (done.environment, done.environment_before) == ({name: URL}, {name: "old"})
    past = apply(PastProxy(host="10.66.0.3"), environ={"no_proxy": "a"})
    assert (past.environment, past.environment_before) == ({"NO_PROXY": "a,10.66.0.3"}, {"NO_PROXY": None})
    bearer = apply(BearerFromWorkerToken(), environ={"VOX_MESH_WORKER_TOKEN": "t"})
    assert (bearer.environment, bearer.environment_before) == ({"VOX_MESH_TOKEN": "t"}, {"VOX_MESH_TOKEN": None})


def test_a_program_that_stays_is_started_and_stopped() -> None:
    """Protects from a responder that nobody stops: without a way to keep it, it is not started."""
    started: list[Sequence[str]] = []
    stopped: list[bool] = []

    def start(argv: Sequence[str]) -> "Stop":
        started.append(argv)
        return Stop(stopped)

    fix = ResponderStart(address="10.66.0.2", allow="10.66.0.1")
    done = apply(fix, start=start)
    assert started[0][-5:] == ["responder", "--bind", "10.66.0.2", "--allow", "10.66.0.1"]
    undo(done)
    assert stopped == [True]
    with pytest.raises(FixError, match="keeps a program"):
        apply(fix)


class Stop:
    """What stops a program."""

    def __init__(self, stopped: list[bool]) -> None:
        self.stopped = stopped

    def __call__(self) -> None:
        """Stop it."""
        self.stopped.append(True)


def test_a_missing_or_failing_program_is_said() -> None:
    """Protects the person who waits: why it could not be done is one clause."""
    with pytest.raises(FixError, match="not installed"):
        located(("preflight-no-such-program",))
    with pytest.raises(FixError, match="could not be run"):
        run_here(["/nonexistent/program"])
    assert run_here([located(("sh",))[0], "-c", "echo out; echo err >&2; exit 3"]) == Ran(3, "out\n", "err\n")


def test_a_file_about_names_is_changed_where_the_worker_has_it(tmp_path: Path) -> None:
    """Protects this machine's own /etc from a fix for a node that has other files there."""
    hosts = tmp_path / "hosts"
    hosts.write_text("10.0.0.9 control\n")
    fix = HostsName(host="control", address="10.66.0.3")
    done = apply(fix, located_file=lambda file: tmp_path / Path(file).name)
    assert hosts.read_text() == "10.66.0.3 control\n"
    undo(done)
    assert hosts.read_text() == "10.0.0.9 control\n"


def test_a_file_that_is_mounted_by_itself_is_written_into(tmp_path: Path) -> None:
    """A container has such files in /etc, which cannot be replaced; a shorter text leaves nothing of the old one."""
    path = tmp_path / "hosts"
    path.write_text("127.0.0.1 localhost localhost.localdomain\n")
    before = path.stat().st_ino
    overwrite(path, "::1 localhost\n")
    assert (path.read_text(), path.stat().st_ino) == ("::1 localhost\n", before)
    with pytest.raises(FixError):
        overwrite(tmp_path / "missing", "")
