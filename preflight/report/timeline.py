"""The timeline of a run as JSON lines, a header and then one event per line: its writer, its schema, its reader.

`at_s` counts from the header's `started_at`, so an event's time of day is `started_at + at_s`. A run that was killed
leaves a file whose last line may be cut off. Pure.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from preflight.model.event import Event
from preflight.model.printable import one_line
from preflight.report.fields import Line, Moment, Part
from preflight.report.model import Tool
from preflight.report.redact import Redactor

FILE = "timeline.jsonl"
MOST_BYTES = 64_000_000
"""Of one timeline; a run on a thousand peers makes less. The last line of a longer one says that it is cut."""
LARGEST_BYTES = MOST_BYTES + 1_000_000
"""Of a timeline that is read: the last line may begin after `MOST_BYTES`."""
MOST_CHARACTERS = 300
"""Of one text of an event."""
MOST_ITEMS = 64
"""Of one list of an event."""
_WORD = r"^[a-z][a-z0-9_.-]{0,63}$"

_KEY = r"^[a-z][a-z0-9_]{0,40}$"
_encoded = json.JSONEncoder().encode
Scalar = int | float | str | bool


class Header(Part):
    """The first line. clock_s relates this file to others of this machine that use the same clock."""

    timeline: Literal["1"] = Field("1", description="Version of this format.")
    tool: Tool = Tool()
    started_at: Moment = Field(description="When at_s was 0.")
    clock_s: float = Field(
        allow_inf_nan=False, description="The steady clock (CLOCK_MONOTONIC) at that moment, in seconds."
    )


class EventLine(Part):
    """Any other line: one thing that a part of the program did, learned or decided."""

    at_s: float = Field(allow_inf_nan=False, description="Seconds since the header's started_at.")
    source: str = Field(pattern=_WORD, description="The module that reports it, as pmtu.fast.")
    subject: Line = Field(description="What it is about, as a peer and a direction; empty for the run as a whole.")
    name: str = Field(pattern=_WORD, description="What happened, as probe-sent.")
    fields: dict[Annotated[str, Field(pattern=_KEY)], Scalar | list[Scalar] | None] = Field(
        description="Numbers and words; the name says the unit."
    )

    def event(self, clock_s: float) -> Event:
        """The event as it was written. clock_s: of the header."""
        return Event(self.at_s + clock_s, self.source, self.subject, self.name, self.fields)


_LINE: TypeAdapter[Header | EventLine] = TypeAdapter(Header | EventLine)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one line."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_LINE.json_schema(mode="serialization"),
        "title": "preflight timeline, one line",
    }


@dataclass(slots=True)
class Writer:
    """Makes the lines of one timeline, without secrets, and with pseudonyms where the redactor has them.

    header: its `clock_s` is subtracted from each event's `at_s`. homes: also without users' names in paths.
    """

    redactor: Redactor
    header: Header
    homes: bool = False
    _written: int = 0

    def first_line(self) -> str:
        """The header."""
        return self.header.model_dump_json() + "\n"

    def line(self, event: Event) -> str:
        """The line of an event; nothing once the timeline is full."""
        if self._written >= MOST_BYTES:
            return ""
        line = self._line(event)
        self._written += len(line)
        if self._written >= MOST_BYTES:
            line += self._line(Event(event.at_s, "report.timeline", "", "cut", {"most_bytes": MOST_BYTES}))
        return line

    def _line(self, event: Event) -> str:
        # The subject of the engine is the id of a check: a word of ours, in which no pseudonym may replace a part.
        subject = "check" if event.source.startswith("engine.") else "subject"
        values = {
            "at_s": round(event.at_s - self.header.clock_s, 6),
            "source": event.source,
            "subject": self._clean(subject, event.subject),
            "name": event.name,
            "fields": {key: self._clean(key, _plain(value)) for key, value in event.fields.items()},
        }
        return f"{_encoded(values)}\n"

    def _clean(self, key: str, value: Any) -> Any:
        """A value without secrets. It is cut last: nobody would recognise half a secret."""
        if not isinstance(value, str | list):
            return value
        return _cut(self.redactor.field(key, value, FILE, homes=self.homes))


def _plain(value: Any) -> Any:
    """A field as JSON has it."""
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    if value is None or isinstance(value, int | str):
        return value
    return [_plain(item) for item in value]


def _cut(value: Any) -> Any:
    """The same, not too long, and fit for a terminal."""
    if isinstance(value, str):
        text = one_line(value)
        return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
    return [_cut(item) for item in value[:MOST_ITEMS]] if isinstance(value, list) else value


class Recorded(NamedTuple):
    """A whole timeline; the events' times are those of the clock that the header names."""

    header: Header
    events: Sequence[Event]

    def lines(self, redactor: Redactor, *, homes: bool = False) -> Iterator[str]:
        """The lines; see `Writer`."""
        writer = Writer(redactor, self.header, homes)
        yield writer.first_line()
        yield from map(writer.line, self.events)


def parse(data: bytes) -> Recorded:
    """Read a timeline from any bytes. Raises ValueError with one clause that says what is wrong.

    What follows the last line feed is left out: a run that was killed did not finish that line.
    """
    if len(data) > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_BYTES // 1_000_000} MB")
    lines = data.decode("utf-8", "replace").split("\n")[:-1]
    parsed = [_parsed(number, line) for number, line in enumerate(lines, 1)]
    if not parsed or not isinstance(parsed[0], Header):
        raise ValueError("its first line is not the header of a timeline")
    header = parsed[0]
    return Recorded(header, [line.event(header.clock_s) for line in parsed if isinstance(line, EventLine)])


def _parsed(number: int, line: str) -> Header | EventLine:
    try:
        return _LINE.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise ValueError(one_line(f"line {number}: {first['msg']}")) from None


def about(events: Iterable[Event], source: str, subject: str) -> list[Event]:
    """What one core or shell did for one subject, in order: one path-MTU search, for example."""
    return [event for event in events if event.source == source and event.subject == subject]


def shown(event: Event, clock_s: float) -> str:
    """One event for people: seconds since the run began, who, about what, what, and its fields."""
    fields = " ".join(f"{key}={_word(value)}" for key, value in event.fields.items() if value is not None)
    return f"{event.at_s - clock_s:9.3f}  {event.source:<16} {event.subject:<24} {event.name}  {fields}".rstrip()


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
