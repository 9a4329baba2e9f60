"""`python -m preflight.lab.vm COMMAND...`: a command of this host in the virtual machine, as `bin/test --vm` has it."""

import sys

from preflight.lab.names import LabError
from preflight.lab.vm.machine import run

INTERRUPTED = 130


def main(words: list[str]) -> int:
    """The command's exit code; 2 with one sentence if there is no machine."""
    try:
        return run(words)
    except LabError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
