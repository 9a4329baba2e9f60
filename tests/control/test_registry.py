"""The pure rules of the registry, as tables."""

from typing import Any

import pytest

from preflight.control import registry

NOW = 1_000_000


@pytest.mark.parametrize(
    ("existing", "sent", "expected"),
    [
        (None, {"id": "a", "quarantined": True, "last_seen_unix_ms": 5}, {"id": "a"}),
        (None, {"id": "a", "maintenance": True}, {"id": "a", "maintenance": True}),
        ({"id": "a", "old": 1}, {"id": "a", "new": 2}, {"id": "a", "new": 2}),
        ({"id": "a", "quarantined": True}, {"id": "a", "quarantined": False}, {"id": "a", "quarantined": True}),
        ({"id": "a"}, {"id": "a", "maintenance": True, "maintenance_until_unix_ms": 9}, {"id": "a"}),
    ],
)
def test_a_join_replaces_all_but_what_the_server_owns(
    existing: dict[str, Any] | None, sent: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Quarantine and drain are the administrator's."""
    assert registry.joined(existing, sent) == expected


@pytest.mark.parametrize(
    ("existing", "sent", "expected"),
    [
        (None, {"id": "a", "x": 1, "quarantined": True}, {"id": "a", "x": 1}),
        ({"id": "a", "old": 1}, {"id": "a", "new": 2}, {"id": "a", "old": 1, "new": 2}),
        ({"id": "a", "version": "1"}, {"id": "a", "version": "2", "last_seen_unix_ms": 3}, {"id": "a", "version": "1"}),
        ({"id": "a", "capabilities": {"x": 1}}, {"id": "a", "capabilities": {}}, {"id": "a", "capabilities": {"x": 1}}),
        ({"id": "a", "maintenance": True}, {"id": "a", "maintenance": False}, {"id": "a", "maintenance": True}),
    ],
)
def test_a_heartbeat_merges_optional_fields(
    existing: dict[str, Any] | None, sent: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Required fields change with a join only."""
    assert registry.beaten(existing, sent) == expected


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, None),
        ({"quarantined": False, "maintenance": False}, None),
        ({"quarantined": True, "maintenance": True}, "is quarantined"),
        ({"maintenance": True}, "is in maintenance"),
        ({"maintenance": True, "maintenance_until_unix_ms": NOW + 1}, "is in maintenance"),
        ({"maintenance": True, "maintenance_until_unix_ms": NOW}, None),
        ({"maintenance_until_unix_ms": NOW + 1}, None),
    ],
)
def test_who_gets_no_new_work(record: dict[str, Any], reason: str | None) -> None:
    """Quarantined, or draining and the deadline not reached."""
    assert registry.blocked(record, NOW) == reason


@pytest.mark.parametrize(
    ("text", "expected"), [(None, "public"), ("", "public"), (" ", "public"), (" Trusted ", "trusted")]
)
def test_privacy_classes_are_compared_in_one_form(text: str | None, expected: str) -> None:
    """Empty is public; case and blanks do not matter."""
    assert registry.privacy(text) == expected
