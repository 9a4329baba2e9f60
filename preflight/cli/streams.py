"""Standard output and standard error of the program: neither loses a document or the exit code in silence."""

import errno
import io
import os
import sys
from contextlib import suppress

from preflight.files import WriteError, pour

_STDOUT, _STDERR = 1, 2


class Stdout(io.FileIO):
    """Standard output that raises WriteError when it cannot be written, and from then on swallows what comes.

    So the interpreter does not fail once more on what is left in its buffer.
    """

    def __init__(self) -> None:
        super().__init__(_STDOUT, "w", closefd=False)
        self.failure: WriteError | None = None

    def write(self, data: "memoryview | bytes") -> int:  # type: ignore[override]
        """Write all of it. Raises WriteError."""
        if self.failure is None:
            try:
                pour(_STDOUT, data)
            except OSError as error:
                reason = "it is closed" if error.errno == errno.EBADF else error.strerror
                self.failure = WriteError(f"standard output cannot be written: {reason}")
                raise self.failure from None
        return len(data)

    def finished(self) -> WriteError | None:
        """Write what is still in the buffer; the failure of the whole run, if there was one."""
        with suppress(WriteError):
            sys.stdout.flush()
        return self.failure


class Stderr(io.FileIO):
    """Standard error that drops what it cannot write: no run ends because nobody listens."""

    def __init__(self) -> None:
        super().__init__(_STDERR, "w", closefd=False)

    def write(self, data: "memoryview | bytes") -> int:  # type: ignore[override]
        """Write what can be written."""
        with suppress(OSError):
            pour(_STDERR, data)
        return len(data)


def guard() -> Stdout:
    """Put both in the places of the interpreter's own, and open what was closed when the program began."""
    _open_closed()
    stdout = Stdout()
    sys.stdout = _text(stdout)
    sys.stderr = _text(Stderr())
    return stdout


def _open_closed() -> None:
    """Nothing else may get the numbers of the standard streams: documents and messages would go into it.

    A closed standard output becomes one that cannot be written, so that it is told.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the lowest number that is free


def _text(raw: io.FileIO) -> io.TextIOWrapper:
    """As the interpreter makes it, but what the terminal's character set lacks becomes an escape, no exception."""
    before = sys.stdout if raw.fileno() == _STDOUT else sys.stderr
    encoding = getattr(before, "encoding", None) or "utf-8"
    lines = raw.fileno() == _STDERR or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=lines)
