"""Values under -v: as a person writes them."""

import pytest

from preflight.report.plain_values import said


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        (True, "yes"),
        (False, "no"),
        (1.5, "1.5"),
        ("wg0", "wg0"),
        ([], "none"),
        ({}, "none"),
        ([1200, 1312], "1200, 1312"),
        ({"rule": "drop", "handle": 5}, "rule: drop, handle: 5"),
        ([{"size": 1312, "back": True}, []], "(size: 1312, back: yes), none"),
    ],
)
def test_no_value_is_shown_as_python_writes_it(value: object, words: str) -> None:
    """Protects readers who do not know Python from `None`, quotes and braces."""
    assert said(value) == words
