"""What a test runs ends with it."""

import select
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.lifetime import tied

PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:])
print(child.pid, flush=True)
child.wait()
"""


def test_it_ends_with_a_killed_parent() -> None:
    """Protects the machine of a developer who kills pytest: the labs of its tests would go on for minutes."""
    words = [sys.executable, "-c", PARENT, *tied("/bin/sleep", "600")]
    # The parent's output stays open as long as its child lives.
    with subprocess.Popen(words, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        # Only once the program runs in setpriv's place is its end tied to that of its parent.
        until = time.monotonic() + 10
        while Path(f"/proc/{child}/comm").read_text(encoding="utf-8") != "sleep\n":
            assert time.monotonic() < until, "it was never started"
            time.sleep(0.01)
        parent.kill()
        assert select.select([parent.stdout], [], [], 10)[0], "the child outlives its parent"
        assert parent.stdout.read() == b""
