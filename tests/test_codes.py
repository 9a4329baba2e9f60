"""The table of finding codes: whole, and of one form."""

import re

import pytest

from preflight import codes


@pytest.mark.parametrize("slug", codes.ALL)
def test_a_slug_is_an_area_and_a_condition(slug: str) -> None:
    """Rules, pages and searches take the part before the dot for the area."""
    assert re.fullmatch(r"[a-z]+\.[a-z]+(-[a-z]+)*", slug)
    assert codes.ALL[slug].area == slug.partition(".")[0]
    assert str(codes.ALL[slug]) == slug


def test_a_constant_has_the_name_of_its_slug() -> None:
    """A reader who knows the code finds the constant without a search."""
    named = {name: value.slug for name, value in vars(codes).items() if isinstance(value, codes.Code)}
    assert all(name == re.sub(r"\W", "_", slug).upper() for name, slug in named.items())
