"""Ansible, through ansible-runner: one play after the other, each event handed on, nothing left on the controller.

What the plays do is in the collection next to them, which is for users' own playbooks too.

Everything that it writes is in one private folder, which goes with the engine. Its processes carry the run's id in
their environment, so that an interrupted one is found and ended with its SSH connections.
"""

import hashlib
import json
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from preflight.files import WriteError
from preflight.fleet import plays
from preflight.fleet.hosts import InventoryError
from preflight.fleet.outcome import Kind, Step
from preflight.fleet.remote.clean import CONTROLLER, end_processes
from preflight.programs import python_folder, search_path

_FORKS = 64
_CONNECT_S = 10
_AWAIT = shlex.join(["sh", "-c", 'until [ -e "$0" ]; do sleep 0.1; done; cat "$0"'])
"""What a task waits with for a file of the controller, whose path follows."""
_CONFIG = """[defaults]
internal_poll_interval = 0.02
[ssh_connection]
ssh_args = -o ControlMaster=auto -o ControlPersist=60s
"""
"""Where the user has no ansible.cfg. Ansible looks a thousand times a second whether a step has ended, which costs more
than all the steps of a run; and ssh would compress what is compressed already."""
_USUAL_CONFIGS = (Path("~/.ansible.cfg"), Path("/etc/ansible/ansible.cfg"))
_EVENTS: Mapping[str, Kind] = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
}
_FIRST = "playbook_on_task_start"
MISSING = "preflight fleet needs ansible-core and ansible-runner: pip install 'overlay-preflight[fleet]'"


@dataclass(frozen=True, slots=True)
class Access:
    """How Ansible comes to the nodes.

    arguments: for all of its programs. asking: options by which a play asks for passwords. passwords: the answers, by a
    pattern of the prompt.
    """

    inventory: str
    limit: str | None = None
    arguments: tuple[str, ...] = ()
    asking: tuple[str, ...] = ()
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)


class Engine:
    """The Ansible of one run."""

    def __init__(self, run: str, access: Access, folder: Path, cancelled: Callable[[], bool]) -> None:
        self.run, self.access, self.folder = run, access, folder
        self._cancelled = cancelled

    def inventory(self) -> Mapping[str, Any]:
        """What the inventory says of each host. Raises InventoryError."""
        import ansible_runner

        words = ["-i", self.access.inventory, "--list", *self.access.arguments]
        words += ["--limit", self.access.limit] if self.access.limit else []
        output, complaint, code = ansible_runner.run_command(
            executable_cmd="ansible-inventory",
            cmdline_args=words,
            host_cwd=str(Path.cwd()),
            private_data_dir=str(self.folder),
            envvars=self._variables(1),
            settings={"suppress_env_files": True},
            suppress_env_files=True,
            runner_mode="subprocess",
            quiet=True,
        )
        if code != 0:
            raise InventoryError(_last_line(complaint) or _last_line(output) or "the inventory cannot be read")
        if "Unable to parse" in complaint or "No inventory was parsed" in complaint:
            raise InventoryError(f"{self.access.inventory} is not an inventory")
        found: Mapping[str, Any] = json.loads(output[output.index("{") :])
        return found

    def play(
        self,
        name: str,
        hosts: Sequence[str],
        variables: Mapping[str, Any],
        report: Callable[[Step], None],
        begun: Callable[[], None] = lambda: None,
    ) -> list[Step]:
        """Run a play on some hosts; return what came of each task on each host.

        report: gets each one at once. begun: is called when Ansible has started, with its first task.
        """
        import ansible_runner

        steps: list[Step] = []
        # In files: a thousand hosts are too long for a command line.
        chosen, given = self.folder / "hosts", self.folder / "variables.json"
        chosen.write_text("".join(f"{host}\n" for host in hosts), encoding="utf-8")
        own = {"install_run": self.run, "clean_run": self.run, "fleet_folder": str(self.folder), "fleet_await": _AWAIT}
        given.write_text(json.dumps(own | dict(variables)), encoding="utf-8")
        ansible_runner.run(
            private_data_dir=str(self.folder),
            playbook=str(Path(plays.__path__[0]) / f"{name}.yml"),
            inventory=self.access.inventory,
            limit=f"@{chosen}",
            extravars=str(given),
            cmdline=shlex.join((*self.access.arguments, *self.access.asking)) or None,
            passwords=dict(self.access.passwords) or None,
            envvars=self._variables(len(hosts)),
            settings={"pexpect_timeout": 1, "pexpect_use_poll": True, "suppress_output_file": True},
            suppress_env_files=True,
            event_handler=_handler(steps, report, begun),
            cancel_callback=self._cancelled,
            quiet=True,
        )
        return steps

    def watch(self, look: Callable[[], None]) -> None:
        """Have this called about once a second while a play runs."""
        cancelled = self._cancelled

        def looked() -> bool:
            look()
            return cancelled()

        self._cancelled = looked

    def settle(self) -> None:
        """End what a cancelled play left running, and let the plays from now on end in peace."""
        _end(self.run)
        self._cancelled = lambda: False

    def _variables(self, hosts: int) -> dict[str, str]:
        """Ansible's own settings for this run; a user's ansible.cfg counts for the rest."""
        chosen = {
            "PATH": f"{python_folder()}{os.pathsep}{search_path()}",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_FORKS": str(min(_FORKS, max(1, hosts))),
            "ANSIBLE_TIMEOUT": str(_CONNECT_S),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.folder / "cp"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_GATHERING": "explicit",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            "PREFLIGHT_CONTROLLER": f"{CONTROLLER}{self.run}",
        }
        if "ANSIBLE_CONFIG" not in os.environ:
            chosen["ANSIBLE_CONFIG"] = str(self._config())
        return chosen

    def _config(self) -> Path:
        """The user's ansible.cfg where Ansible would find it, else one of this run."""
        own = Path("ansible.cfg").absolute()
        # The rule of Ansible itself: not from a folder that others may write to.
        if own.is_file() and not own.parent.stat().st_mode & stat.S_IWOTH:
            return own
        usual = next((path for path in map(Path.expanduser, _USUAL_CONFIGS) if path.is_file()), None)
        if usual is None:
            usual = self.folder / "ansible.cfg"
            usual.write_text(_CONFIG, encoding="ascii")
        return usual

    def write(self, kind: str, contents: Mapping[str, str]) -> None:
        """Write a private file for each host, which a task looks up by the host's name, or waits for."""
        folder = self.folder / kind
        folder.mkdir(mode=0o700, exist_ok=True)
        for host, content in contents.items():
            self._put(folder / hashlib.sha256(host.encode()).hexdigest(), content)

    def go_on(self, word: str) -> None:
        """Say to the play of a run what comes next: `clean`, or anything else for its end."""
        self._put(self.folder / "next", word)

    def _put(self, path: Path, content: str) -> None:
        """Write a private file, completely or not at all: somebody may wait for it."""
        draft = path.with_name(f"{path.name}.new")
        draft.touch(mode=0o600)
        draft.write_text(content, encoding="ascii")
        draft.rename(path)


@contextmanager
def engine(run: str, access: Access, cancelled: Callable[[], bool]) -> Iterator[Engine]:
    """An engine for the body. Afterwards its folder, its processes and its connections are gone.

    Raises InventoryError if Ansible is not installed.
    """
    try:
        import ansible_runner  # noqa: F401 - only whether it is there
    except ModuleNotFoundError:
        raise InventoryError(MISSING) from None
    runtime = os.environ.get("XDG_RUNTIME_DIR") or ("/run" if os.geteuid() == 0 else None)
    folder = Path(
        tempfile.mkdtemp(prefix=f"{CONTROLLER}{run}-", dir=runtime if runtime and Path(runtime).is_dir() else None)
    )
    try:
        yield Engine(run, access, folder, cancelled)
    finally:
        _end(run)
        shutil.rmtree(folder, ignore_errors=True)


def _handler(
    steps: list[Step], report: Callable[[Step], None], begun: Callable[[], None]
) -> Callable[[dict[str, Any]], bool]:
    """What ansible-runner calls for each event: it adds to the steps, and calls the others."""
    once = iter([begun])

    def heard(event: dict[str, Any]) -> bool:
        if event.get("event") == _FIRST:
            next(once, lambda: None)()
        step = _step(event)
        if step is not None:
            steps.append(step)
            try:
                report(step)
            except OSError as error:  # ansible-runner would take it for its own error, and go on
                raise WriteError(f"{error.filename}: {error.strerror}") from error
        return False  # nothing of it is kept in a file

    return heard


def _end(run: str) -> None:
    """End Ansible's workers and their SSH connections, which outlive it when it is cancelled."""
    end_processes([f"{CONTROLLER}{run}"], spare="")


def _step(event: Mapping[str, Any]) -> Step | None:
    """A task that has ended on a host."""
    data = event.get("event_data", {})
    kind = _EVENTS.get(str(event.get("event")))
    if kind is None or "host" not in data:
        return None
    begun, ended = (datetime.fromisoformat(data[key]).timestamp() for key in ("start", "end"))
    return Step(str(data["host"]), str(data.get("task", "")).lower(), kind, data.get("res") or {}, begun, ended)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
