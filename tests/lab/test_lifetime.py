"""What a test runs ends with it."""

import select
import subprocess
import sys

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
        assert int(parent.stdout.readline()) > 0
        parent.kill()
        assert select.select([parent.stdout], [], [], 10)[0], "the child outlives its parent"
        assert parent.stdout.read() == b""
