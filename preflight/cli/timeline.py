"""`--debug`: the timeline of a run, from its first event to its last."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from preflight.files import Attempts, Stream
from preflight.model.event import Listener

if TYPE_CHECKING:
    from preflight.cli.session import Session


@contextmanager
def recording(path: Path | None, session: "Session", attempts: Attempts) -> Iterator[Listener | None]:
    """A listener that writes the timeline to `path`; None where none was asked for.

    With stand-ins it is written when the body is done: only then are all names known that must not stand in it.
    attempts: remember that it could not be written. Raises WriteError if it cannot even be opened.
    """
    if path is None:
        yield None
        return
    from preflight.evidence.timeline import Growing, Held
    from preflight.report.redact import Redactor
    from preflight.settings.secrets import known_secrets

    stream = Stream(path)
    try:
        if "addresses" in session.settings.report.redact:
            held = Held()
            yield held
            with attempts.one():
                for line in held.recorded().lines(session.redactor(())):
                    stream.append(line)
        else:
            # The session's own redactor is made when the run is over: it also knows the credential that was bought.
            growing = Growing(stream, Redactor(known_secrets(session.settings, os.environ)))
            yield growing
            attempts.failures += [growing.failure] if growing.failure else []
    finally:
        with attempts.one():
            stream.close()
