"""`--debug`: the timeline of a run, from its first event to its last."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from preflight.model.event import Listener, telling

if TYPE_CHECKING:
    from preflight.cli.session import Session
    from preflight.engine.diagnosis import Cause
    from preflight.files import Attempts


@contextmanager
def recording(path: Path | None, session: "Session", attempts: "Attempts") -> Iterator[Listener | None]:
    """A listener that writes the timeline to `path`; None where none was asked for.

    With stand-ins it is written when the body is done: only then are all names known that must not stand in it.
    attempts: remember that it could not be written. Raises WriteError if it cannot even be opened.
    """
    if path is None:
        yield None
        return
    from preflight.evidence.timeline import Growing, Held
    from preflight.files import Stream
    from preflight.report.redact import Redactor
    from preflight.report.timeline import Writer
    from preflight.settings.load import known_secrets

    started_at, clock_s = datetime.now(UTC), time.monotonic()
    stream = Stream(path)
    try:
        if "addresses" in session.settings.report.redact:
            held = Held()
            yield held
            with attempts.one():
                for line in held.lines(Writer(session.redactor(()), started_at, clock_s)):
                    stream.append(line)
        else:
            # The session's own redactor is made when the run is over: it also knows the credential that was bought.
            redactor = Redactor(known_secrets(session.settings, os.environ))
            growing = Growing(stream, Writer(redactor, started_at, clock_s))
            yield growing
            attempts.failures += [growing.failure] if growing.failure else []
    finally:
        with attempts.one():
            stream.close()


def tell_causes(listener: Listener | None, causes: Iterable["Cause"]) -> None:
    """Tell which root causes the diagnosis found, in their order, and which results each explains."""
    for cause in causes:
        telling(listener, "engine.diagnosis", cause.code.slug)(
            time.monotonic(),
            "cause",
            target=cause.target,
            direction=cause.direction,
            explains=cause.explains,
            explained=len(cause.explains),
        )
