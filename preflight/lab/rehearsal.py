"""`preflight fix` itself in a lab: a report's fix is made and undone by two commands, and node a compared."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preflight.fixing.journal import JOURNAL
from preflight.lab.labs import Lab
from preflight.lab.names import LabError
from preflight.lab.node_state import node_state
from preflight.lab.repairs import differences
from preflight.programs import python_module

PATIENCE_S = 300.0
_REFUSED = 2


@dataclass(frozen=True, slots=True)
class Fixed:
    """What came of the command. words: kept and undone, or why not; left: what was another than before in the end.

    refused: nothing was tried.
    """

    words: str
    left: tuple[str, ...] = ()
    refused: bool = False


def fixed(lab: Lab, report: Mapping[str, Any]) -> Fixed:
    """Apply the report's first fix of node a and undo it. Raises LabError if a command does not end."""
    file = lab.names.directory / "fix.json"
    file.write_text(json.dumps(report), encoding="utf-8")
    before = node_state(lab)
    done = _preflight(lab, str(file), *lab.preflight_arguments()[:2], "-q", "--yes")
    if done.returncode == _REFUSED:
        return Fixed(f"refused: {_first(done.stderr)}", _changed(lab, before), refused=True)
    ended = _ended(lab)
    if ended != "kept":
        said = _reason(done.stdout) or _last(done.stderr) or _last(done.stdout)
        return Fixed(f"{ended or 'nothing made'}: {said}", _changed(lab, before))
    back = _preflight(lab, "--undo", "--yes")
    words = "kept, then undone" if back.returncode == 0 else f"kept, but not undone: {_last(back.stderr)}"
    return Fixed(words, _changed(lab, before))


def _preflight(lab: Lab, *words: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            lab.users_command(python_module("preflight", "fix", *words)),
            env=lab.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"preflight fix did not end within {PATIENCE_S:.0f} s") from None


def _ended(lab: Lab) -> str:
    """The last event of the journal of `preflight fix`; empty if nothing was made."""
    file = lab.names.directory / "state" / "preflight" / "fixes" / JOURNAL
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return str(json.loads(lines[-1])["event"]) if lines else ""


def _reason(output: str) -> str:
    return next((line for line in output.splitlines() if line.startswith(("Healed:", "Not healed:"))), "")


def _first(output: str) -> str:
    return next((line for line in output.splitlines() if line.strip()), "")


def _last(output: str) -> str:
    return next((line for line in reversed(output.splitlines()) if line.strip()), "")


def _changed(lab: Lab, before: Sequence[str]) -> tuple[str, ...]:
    return tuple(differences(before, node_state(lab), "a"))
