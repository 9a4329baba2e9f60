"""Numbers in sentences."""

import pytest

from preflight.proto.way.words import counted


@pytest.mark.parametrize(("number", "words"), [(0, "0 packets"), (1, "1 packet"), (2, "2 packets")])
def test_a_number_and_its_noun(number: int, words: str) -> None:
    """One has no plural."""
    assert counted(number, "packet") == words
