"""`preflight lab run --vm` and `preflight lab fuzz --vm`: the same command, in the virtual machine."""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from preflight.lab.vm.machine import run
from preflight.programs import python_module


def lab(words: Sequence[str], files: Iterable[Path]) -> int:
    """Run `preflight lab` with these words in the machine; return its exit code.

    files: what it writes, which this host gets. Raises LabError if there can be no machine.
    """
    # Where the command leaves the timelines of rows that were judged bad, unless a report has a folder for them.
    kept = Path(tempfile.mkdtemp(prefix="preflight-lab-"))
    try:
        folders = [kept, *(file.parent for file in files)]
        return run(python_module("preflight", "lab", *words), shared=folders, environment={"TMPDIR": str(kept)})
    finally:
        if not any(kept.rglob("*.jsonl")):
            shutil.rmtree(kept)
