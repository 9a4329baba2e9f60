"""Text of strangers: nothing that moves a cursor, ends a line or turns the reading direction gets through."""

import pytest

from preflight.model.printable import excerpt, number_of, one_line, printable


@pytest.mark.parametrize("bad", ["\x1b", "\x07", "\u202e", "\u200b", "\ufffe", "\ud800"])
def test_what_steers_a_terminal_is_replaced(bad: str) -> None:
    """A host name must not clear the screen, or show something else than what it is."""
    assert printable(f"a{bad}b") == one_line(f"a{bad}b") == "a\ufffdb"


def test_lines_stay_lines_only_where_they_may() -> None:
    """Output of a program keeps its lines; in a sentence a stranger begins none."""
    assert printable("a\r\nb\tc") == "a\nb\tc"
    assert one_line("a\r\nb\tc") == "a  b c"


def test_an_excerpt_is_short_and_says_that_it_is_one() -> None:
    """Megabytes of somebody's answer do not get into a message, nor are they looked at."""
    assert excerpt("a\n  b") == "a b"
    assert excerpt("x" * 1_000_000) == "x" * 160 + "…"
    assert excerpt(" " * 1000 + "x") == "…"


def test_one_thing_has_no_plural() -> None:
    """Sentences with counts read well."""
    assert [number_of("nodes", n) for n in (0, 1, 2)] == ["0 nodes", "1 node", "2 nodes"]
