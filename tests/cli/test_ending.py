"""The end of the process, which does not wait for those that were asked to end and do not."""

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys, time
from preflight.cli import ending

ending.CLEANUP_S = 0.1

async def stubborn():
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

async def main():
    {left}
    await asyncio.sleep(0.1)
    print("the report")
    return 3

with ending.leaving_threads_behind():
    sys.exit(ending.run_to_end(main()))
"""


@pytest.mark.parametrize(
    "left",
    [
        pytest.param("pass", id="nothing"),
        pytest.param("asyncio.get_running_loop().create_task(stubborn())", id="a task that ignores cancellation"),
        pytest.param("asyncio.get_running_loop().run_in_executor(None, time.sleep, 600)", id="a thread that blocks"),
    ],
)
def test_whatever_is_left_the_process_ends(left: str) -> None:
    """With its exit code, all that it printed, and nothing said about what it has left."""
    command = [sys.executable, "-P", "-c", PROGRAM.format(left=left)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "the report\n", "")
