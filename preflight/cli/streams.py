"""Standard output and standard error of the program: no document and no exit code is lost silently."""

import errno
import io
import os
import sys
from contextlib import suppress

from preflight.files import ReaderGoneError, WriteError, pour

_STDOUT, _STDERR = 1, 2


class Stdout(io.FileIO):
    """Standard output that raises WriteError when a write fails, and then discards all later output.

    So the interpreter does not fail again when it flushes the buffer at exit.
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
                kind = ReaderGoneError if error.errno == errno.EPIPE else WriteError
                self.failure = kind(f"standard output cannot be written: {reason}")
                raise self.failure from None
        return len(data)

    def finished(self) -> WriteError | None:
        """Flush the buffer; return the first failure of the run, if any."""
        with suppress(WriteError):
            sys.stdout.flush()
        return self.failure


class Stderr(io.FileIO):
    """Standard error that drops what it cannot write: no run ends because nothing reads its messages."""

    def __init__(self) -> None:
        super().__init__(_STDERR, "w", closefd=False)

    def write(self, data: "memoryview | bytes") -> int:  # type: ignore[override]
        """Write what can be written."""
        with suppress(OSError):
            pour(_STDERR, data)
        return len(data)


def guard() -> Stdout:
    """Replace the interpreter's streams by ours, and open those that were closed when the program started."""
    _open_closed()
    stdout = Stdout()
    sys.stdout = _text(stdout)
    sys.stderr = _text(Stderr())
    return stdout


def _open_closed() -> None:
    """No other file may get the numbers of the standard streams: documents and messages would go into it.

    A closed standard output becomes one that cannot be written to, so that the failure is reported.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # the lowest number that is free


def _text(raw: io.FileIO) -> io.TextIOWrapper:
    """Like the interpreter's, but a character that the terminal's encoding lacks becomes an escape, not an error."""
    before = sys.stdout if raw.fileno() == _STDOUT else sys.stderr
    encoding = getattr(before, "encoding", None) or "utf-8"
    lines = raw.fileno() == _STDERR or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=lines)
