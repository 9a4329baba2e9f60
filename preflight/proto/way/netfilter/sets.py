"""Whether a key is in a set, and what a map may give for it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from preflight.proto.way.netfilter.bits import Bits, Tri, any_of
from preflight.proto.way.netfilter.ruleset import Element, Set

_REGISTER = 4


class Found(NamedTuple):
    """An element that the key is, or may be."""

    sure: Tri
    element: Element


def found_in(held: Set, key: Bits) -> tuple[Tri, tuple[Found, ...]]:
    """Whether the set has the key, and by which elements."""
    if held.elements is None:
        return Tri.MAYBE, ()
    found = tuple(each for each in _each(held, key) if each.sure)
    sure = any_of(each.sure for each in found)
    rest = next((each for each in held.elements if each.key is None), None)
    if rest is not None and sure is not Tri.YES:
        found = (*found, Found(~sure, rest))
        sure = Tri.YES
    return sure, found


def _each(held: Set, key: Bits) -> Iterator[Found]:
    elements = held.elements or ()
    if held.intervals:
        yield from _in_intervals(elements, key)
        return
    for element in elements:
        if element.key is not None:
            yield Found(_fits(held, element, element.key, key), element)


def _fits(held: Set, element: Element, first: bytes, key: Bits) -> Tri:
    if element.end is None:
        return key.part(0, len(first)).equals(first)
    sure, start = Tri.YES, 0
    for length in held.fields or (len(first),):
        end = start + length
        one = key.part(start, length)
        sure &= one.at_least(first[start:end]) & one.at_most(element.end[start:end])
        start = end + -length % _REGISTER
    return sure


def _in_intervals(elements: Sequence[Element], key: Bits) -> Iterator[Found]:
    """Elements where intervals begin and end, in any order; an end is not in its interval."""
    marks = sorted((each.key, each.opens, each) for each in elements if each.key is not None) if elements else []
    for place, (first, opens, element) in enumerate(marks):
        if opens:
            behind = marks[place + 1][0] if place + 1 < len(marks) else None
            one = key.part(0, len(first))
            below = Tri.YES if behind is None else ~one.at_least(behind)
            yield Found(one.at_least(first) & below, element)
