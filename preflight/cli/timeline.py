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
    """A listener that writes the timeline to `path`; None if none was requested.

    With pseudonyms it is written when the body has ended: only then all names are known that must not be in it.
    attempts: remember that it could not be written. Raises WriteError if it cannot be opened.
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
            # The session makes its own redactor after the run, because that one must know the new credential too.
            growing = Growing(stream, Redactor(known_secrets(session.settings, os.environ)))
            yield growing
            attempts.failures += [growing.failure] if growing.failure else []
    finally:
        with attempts.one():
            stream.close()
