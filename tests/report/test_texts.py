"""Every text of a report's JSON is found, in order, and comes back to its place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.report.texts import Kind, Texts

WORDS = st.text("ab/\n", max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.sampled_from(["id", "data", "status", "kind", "way"]), inner, max_size=3)
    ),
    max_leaves=12,
)
RESULT: dict[str, Any] = {
    "id": "udp.quality/bob/forward/loss",
    "check": "udp.quality",
    "status": "pass",
    "message": "no loss to bob",
    "remedies": [{"where": "this node", "lines": ["ip link show", "dig bob"]}],
    "measurements": {"bob": {"10.66.0.2": [1, "seen by bob"]}, "loss_percent": 0.0},
}


@given(JSON)
def test_nothing_changes_where_no_text_does(value: Any) -> None:
    """Fields, their order, numbers and fixed words stay, whatever else is in the value."""
    texts = Texts("data", value)
    assert repr(texts.replaced(texts.found)) == repr(value)
    texts = Texts("report", value)
    assert repr(texts.replaced(texts.found)) == repr(value)


@given(JSON)
def test_in_outside_data_every_text_is_found(value: Any) -> None:
    """Keys and values of what came from outside: a text that is left out would keep its secret."""
    texts = Texts("data", value)
    left = repr(texts.replaced(["-" for _ in texts.found]))
    assert not set("ab/") & set(left.replace("True", "").replace("False", ""))


def test_a_result_is_read_in_its_order() -> None:
    """A secret that is split over consecutive texts is found only if they are consecutive; ids keep their form."""
    texts = Texts("results", [RESULT])
    assert texts.found == [
        *("udp.quality", "bob", "loss", "udp.quality", "no loss to bob", "ip link show", "dig bob"),
        *("bob", "10.66.0.2", "seen by bob", "loss_percent"),
    ]
    assert [text for text, kind in zip(texts.found, texts.kinds, strict=True) if kind is Kind.OURS] == [
        "udp.quality"
    ] * 2
    (changed,) = texts.replaced([text.replace("bob", "host-1") for text in texts.found])
    assert changed["id"] == "udp.quality/host-1/forward/loss"
    assert changed["measurements"] == {"host-1": {"10.66.0.2": [1, "seen by host-1"]}, "loss_percent": 0.0}
    assert (changed["status"], changed["remedies"][0]["where"]) == ("pass", "this node")
    assert RESULT["message"] == "no loss to bob"


def test_each_text_has_one_successor() -> None:
    """Too few or too many texts would put one in another's place."""
    with pytest.raises(ValueError, match="zip"):
        Texts("message", "a").replaced([])
