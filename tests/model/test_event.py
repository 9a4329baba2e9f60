"""The timeline's vocabulary."""

from preflight.model.event import Event, silent, telling


def test_a_listener_gets_each_event_with_its_source_and_subject() -> None:
    """What a core reports arrives unchanged, under the names it was given."""
    events: list[Event] = []
    tell = telling(events.append, "pmtu.fast", "10.0.0.2 forward")
    tell(1.5, "probe-sent", size_bytes=1400)
    assert events == [Event(1.5, "pmtu.fast", "10.0.0.2 forward", "probe-sent", {"size_bytes": 1400})]


def test_without_a_listener_nothing_is_built() -> None:
    """Off, an event costs the call of an empty function."""
    assert telling(None, "pmtu.fast") is silent
