"""Programs that tests run for minutes: they end with the test, also if it is killed."""

import shutil
import sys


def tied(*argv: str) -> list[str]:
    """A command as a child that gets SIGTERM when its parent ends, whatever ended that."""
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "util-linux has it"
    return [setpriv, "--pdeathsig", "TERM", *argv]


def preflight(*words: str) -> list[str]:
    """Our program with these words, tied to this process; it takes its labs down then, as after a Ctrl-C."""
    return tied(sys.executable, "-m", "preflight", *words)
