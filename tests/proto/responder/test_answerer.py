"""What answers in a responder's place is named by the most exact reason, and the remedy fits it."""

import pytest

from preflight.model.rejected import ECHOED, FOREIGN, OTHER_KEY, UNSIGNED
from preflight.model.remedy import as_text
from preflight.proto.responder.answerer import replace_answerer, who_answers


@pytest.mark.parametrize(
    ("rejected", "said"),
    [
        ({OTHER_KEY: 1, FOREIGN: 9}, "another key"),
        ({UNSIGNED: 1, ECHOED: 9}, "does not sign"),
        ({ECHOED: 1, FOREIGN: 9}, "sends back what it gets"),
        ({FOREIGN: 1}, "something that is not a responder answers"),
    ],
)
def test_the_sentence_names_the_most_exact_reason(rejected: dict[str, int], said: str) -> None:
    """Ten strange datagrams must not hide the one that shows the cause; the counts come after it."""
    sentence = who_answers("b", 862, rejected)
    assert said in sentence
    assert all(f"{reason} {count}" in sentence for reason, count in rejected.items())


@pytest.mark.parametrize("reason", [OTHER_KEY, UNSIGNED])
def test_a_key_that_differs_is_repaired_by_the_key(reason: str) -> None:
    """The right program runs there: nobody has to find out which program has the port."""
    remedy = as_text(replace_answerer("b", "10.66.0.2", 862, {reason: 3})) or ""
    assert "--key-file" in remedy
    assert "ss -lunp" not in remedy


def test_another_program_is_found_by_its_port() -> None:
    """First it has to go; the responder that follows asks for a key only if this node has one."""
    remedy = as_text(replace_answerer("b", "10.66.0.2", 862, {ECHOED: 3})) or ""
    assert remedy.splitlines()[0].startswith("ss -lunp 'sport = :862'")
    assert "--key-file" not in remedy
    assert "--key-file" in (as_text(replace_answerer("b", "10.66.0.2", 862, {ECHOED: 3}, keyed=True)) or "")
