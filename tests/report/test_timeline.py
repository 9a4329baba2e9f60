"""The lines of a timeline: their form, what they leave out, and how they are read again."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from preflight.model.event import Event
from preflight.report import timeline
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.redact import Redactor
from preflight.report.timeline import Header, Recorded, about, parse, schema, shown

SECRET = "correct-horse-battery-staple"
HEADER = Header(started_at=datetime(2026, 11, 23, 12, 0, tzinfo=UTC), clock_s=1000.0)


def kept(*events: Event, redactor: Redactor | None = None, **options: Any) -> list[dict[str, Any]]:
    """The lines of these events as a program reads them, without the header."""
    lines = "".join(Recorded(HEADER, events).lines(redactor or Redactor([]), **options)).splitlines()
    return [json.loads(line) for line in lines[1:]]


def event(name: str = "probe-sent", subject: str = "b forward", **fields: Any) -> Event:
    return Event(1001.5, "pmtu.fast", subject, name, fields)


def test_every_line_is_of_the_published_schema() -> None:
    """A program that reads by `preflight schema timeline` can read what is written."""
    Draft202012Validator.check_schema(schema())
    validator = Draft202012Validator(schema(), format_checker=FormatChecker())
    events = [
        event(size_bytes=1400, lost=False, why=None, addresses=("10.0.0.2", "fd00::1"), rtt_ms=0.25),
        event("end"),
    ]
    for line in Recorded(HEADER, events).lines(Redactor([])):
        validator.validate(json.loads(line))
    assert not validator.is_valid({"at_s": 1.0, "name": "probe-sent"})


def test_a_time_of_day_can_be_made_of_an_event() -> None:
    """`started_at + at_s`: the clock of the events is taken off."""
    (line,) = kept(event())
    assert line["at_s"] == 1.5


def test_what_is_written_is_read_again() -> None:
    """One search can be picked out of a timeline and followed, step by step."""
    events = [
        event(size_bytes=1400),
        event("probe-lost", subject="c forward"),
        event("probe-answered", size_bytes=1400),
    ]
    header, read = parse("".join(Recorded(HEADER, events).lines(Redactor([]))).encode())
    assert header == HEADER
    search = about(read, "pmtu.fast", "b forward")
    assert [(step.name, step.fields["size_bytes"]) for step in search] == [
        ("probe-sent", 1400),
        ("probe-answered", 1400),
    ]
    assert shown(search[0], header.clock_s).split() == [
        "1.500",
        "pmtu.fast",
        "b",
        "forward",
        "probe-sent",
        "size_bytes=1400",
    ]


def test_a_killed_run_leaves_a_timeline() -> None:
    """The line that was not finished is left out; the others count."""
    text = "".join(Recorded(HEADER, [event(), event("probe-answered")]).lines(Redactor([])))
    assert [each.name for each in parse(text[:-20].encode()).events] == ["probe-sent"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not the header"),
        ("not finished", "not the header"),
        ('{"at_s": 1, "source": "a", "subject": "", "name": "b", "fields": {}}\n', "not the header"),
        ('{"timeline": "2", "started_at": "2026-11-23T12:00:00Z", "clock_s": 1}\n', "line 1"),
        ("[]\n", "line 1"),
        ('{"at_s": Infinity, "source": "a", "subject": "", "name": "b", "fields": {}}\n', "line 1"),
    ],
)
def test_what_is_no_timeline_is_refused(text: str, reason: str) -> None:
    """Whatever bytes are given, the complaint is one clause."""
    with pytest.raises(ValueError, match=reason):
        parse(text.encode())


@pytest.mark.parametrize(
    "place",
    [
        {"subject": f"x {SECRET}"},
        {"detail": SECRET},
        {"addresses": ["10.0.0.2", SECRET]},
        {"lines": [SECRET[:9], SECRET[9:]]},
    ],
    ids=["subject", "text", "list", "split over a list"],
)
def test_a_known_secret_is_in_no_line(place: dict[str, Any]) -> None:
    """In a subject, a text, or a list, whole or in parts."""
    (line,) = kept(event(**place), redactor=Redactor([SECRET]))
    shown_text = json.dumps(line)
    assert SECRET not in shown_text
    assert SECRET[9:] not in shown_text
    assert "[redacted]" in shown_text


def test_a_secret_is_taken_out_before_a_long_text_is_cut() -> None:
    """Nobody knows half a secret: if it were cut first, the half would stay."""
    (line,) = kept(event(detail="x" * (timeline.MOST_CHARACTERS - 10) + SECRET + "y" * 50), redactor=Redactor([SECRET]))
    assert SECRET[:6] not in line["fields"]["detail"]
    assert len(line["fields"]["detail"]) == timeline.MOST_CHARACTERS + 1


def test_pseudonyms_are_those_of_the_report() -> None:
    """An address has one pseudonym in a ticket; words of ours keep their form, whatever a host is called."""
    redactor = Redactor([], Pseudonyms(["mtu", "alice-laptop"]))
    pseudonym = redactor.text("10.66.0.2")
    (about_peer,) = kept(event(subject="10.66.0.2 forward", to="alice-laptop"), redactor=redactor)
    assert about_peer["subject"] == f"{pseudonym} forward"
    assert "alice" not in json.dumps(about_peer)
    check = Event(1001.0, "engine.runner", "mtu.path", "result", {"code": "mtu.black-hole", "target": "alice-laptop"})
    (line,) = kept(check, redactor=redactor)
    assert (line["subject"], line["fields"]["code"]) == ("mtu.path", "mtu.black-hole")


def test_users_names_in_paths_do_not_go_into_a_bundle() -> None:
    """As in the raw evidence of the same report."""
    (line,) = kept(event(detail="/home/alice/ca.pem"), homes=True)
    assert line["fields"]["detail"] == "/home/user/ca.pem"


def test_no_text_of_a_stranger_moves_the_cursor_or_begins_a_line() -> None:
    """A certificate's subject is written by the server that answers."""
    (line,) = kept(event(certificate_subject="CN=a\n\x1b[2Jb"))
    assert line["fields"]["certificate_subject"].isprintable()


def test_numbers_that_json_does_not_know_are_null() -> None:
    """A round trip that nobody measured is not a number."""
    (line,) = kept(event(rtt_ms=float("nan"), wait_s=float("inf"), mean_ms=1.23456789))
    assert line["fields"] == {"rtt_ms": None, "wait_s": None, "mean_ms": 1.234568}


def test_a_timeline_does_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with one event that says so."""
    monkeypatch.setattr(timeline, "MOST_BYTES", 1000)
    lines = kept(*[event(size_bytes=size) for size in range(100)])
    assert (lines[-1]["source"], lines[-1]["name"]) == ("report.timeline", "cut")
    assert sum(len(json.dumps(line)) for line in lines) < 1500


def test_the_account_of_what_was_taken_out_counts_repetitions() -> None:
    """The manifest of a bundle says how often; what is remembered is counted again."""
    redactor = Redactor([SECRET])
    kept(*[event(detail=SECRET)] * 3, redactor=redactor)
    assert redactor.ledger[timeline.FILE, "secret"] == 3


def test_a_name_that_becomes_known_is_replaced_from_then_on() -> None:
    """What was remembered before is forgotten."""
    redactor = Redactor([], Pseudonyms())
    kept(event(to="alice-laptop"), redactor=redactor)
    redactor.know(["alice-laptop"])
    (line,) = kept(event(to="alice-laptop"), redactor=redactor)
    assert "alice" not in json.dumps(line)
