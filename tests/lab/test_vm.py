"""The virtual machine with Debian's kernel, booted for real: rows of the lab, and the tests that need such a kernel.

A row takes a minute and a half of one core, so the rows are not among the tests of every run:
`bin/test -m machine tests/lab/test_vm.py` runs them. No test here asks how long something took.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.lab,
    pytest.mark.machine,
    pytest.mark.needs("qemu-system-x86_64"),
    pytest.mark.timeout(2400),
]

ROOT = Path(__file__).parents[2]
# A machine ends with its test, also with one that is killed.
BOUND = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-P", "-m"]
ROWS = ("healthy", "wrong-key", "drop-reverse")
KERNEL_TESTS = ("tests/vm/test_kernel_wireguard.py", "tests/vm/test_vrf.py")
"""Without the tests of the overlay's checks, which `bin/test --vm` also runs there."""


def test_rows_on_the_kernel_s_wireguard(tmp_path: Path) -> None:
    """Most users run the kernel's WireGuard: its silence, its counters and its errors lead to the same causes.

    The command is the user's own, so this also holds that scores and reports come out of the machine.
    """
    scores = tmp_path / "scores.json"
    words = [*BOUND, "preflight", "lab", "run", *ROWS, "--vm", "--output", f"json={scores}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(scores.read_text(encoding="utf-8"))["scenarios"]
    assert [(row["name"], row["right"], row["false_alarms"]) for row in rows] == [(name, True, []) for name in ROWS]
    reports = [json.loads(Path(row["report"]).read_text(encoding="utf-8")) for row in rows]
    assert {report["run"]["lab"] for report in reports} == {"wireguard"}
    assert all(report["run"]["node"]["kernel"].endswith("cloud-amd64") for report in reports)


def test_what_needs_such_a_kernel() -> None:
    """The netlink adapter, the errors and counters of the kernel's tunnel, and a VRF."""
    words = ["setpriv", "--pdeathsig", "TERM", "--", str(ROOT / "bin" / "test"), "--vm", "-q", *KERNEL_TESTS]
    environ = {**os.environ, "PREFLIGHT_VENV": sys.prefix}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_row_that_does_not_exist_is_refused_in_the_machine_too(tmp_path: Path) -> None:
    """The exit code and the sentence are those of the command itself, and no folder is left."""
    words = [*BOUND, "preflight", "lab", "run", "no-such-row", "--vm"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(Path.home()), "TMPDIR": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no lab, topology or scenario 'no-such-row'" in done.stderr
    assert list(tmp_path.iterdir()) == []
