"""Listens to a run and keeps its timeline: in a file that grows with the run, or in memory until the run ends."""

from datetime import UTC, datetime
from time import monotonic

from preflight.files import Stream, WriteError
from preflight.model.event import Event
from preflight.report.redact import Redactor
from preflight.report.timeline import Header, Recorded, Writer

MOST_EVENTS = 400_000
"""The most events that are kept in memory. Later ones are left out, and the last line says so."""


class Growing:
    """Writes each event as it comes: a killed run leaves what happened until then."""

    def __init__(self, stream: Stream, redactor: Redactor) -> None:
        """Write the header. Raises WriteError."""
        self.failure: WriteError | None = None
        self._stream = stream
        self._writer = Writer(redactor, _begun_now())
        self._stream.append(self._writer.first_line())

    def __call__(self, event: Event) -> None:
        """Take one event. A file that cannot be written any more ends the timeline, not the run: see `failure`."""
        if self.failure is None:
            try:
                self._stream.append(self._writer.line(event))
            except WriteError as error:
                self.failure = error


class Held:
    """Keeps the events in memory until all names and networks are known that get pseudonyms."""

    def __init__(self) -> None:
        self._header = _begun_now()
        self._events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if len(self._events) < MOST_EVENTS:
            self._events.append(event)
        elif len(self._events) == MOST_EVENTS:
            self._events.append(Event(event.at_s, "evidence.timeline", "", "cut", {"most_events": MOST_EVENTS}))

    def recorded(self) -> Recorded:
        """The timeline so far."""
        return Recorded(self._header, self._events)


def _begun_now() -> Header:
    return Header(started_at=datetime.now(UTC), clock_s=monotonic())
