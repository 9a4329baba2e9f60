"""Values of which only some bits are known: an answer is certain only if it holds for every value they may be."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from preflight.proto.way.netfilter.bits import Bits, Tri, any_of

LENGTH = 2
values = st.binary(min_size=LENGTH, max_size=LENGTH)
known = st.lists(st.sampled_from((b"\xff", b"\xff", b"\x00", b"\xfc", b"\x81")), min_size=LENGTH, max_size=LENGTH).map(
    b"".join
)


@st.composite
def bits(draw: st.DrawFn) -> Bits:
    value, sure = draw(values), draw(known)
    return Bits(bytes(one & other for one, other in zip(value, sure, strict=True)), sure)


def completions(held: Bits) -> list[bytes]:
    """Every value that it may be."""
    each = [
        [byte for byte in range(256) if byte & sure == value]
        for value, sure in zip(held.value, held.known, strict=True)
    ]
    return [bytes(pair) for pair in product(*each)]


def truth(outcomes: list[bool]) -> set[Tri]:
    """The answers that are sound: certain ones only where all agree."""
    return {Tri.MAYBE, Tri.YES} if all(outcomes) else {Tri.MAYBE, Tri.NO} if not any(outcomes) else {Tri.MAYBE}


@given(bits(), values, values, values)
def test_comparing_is_sound(held: Bits, wanted: bytes, mask: bytes, flipped: bytes) -> None:
    """Protects the word `certain`: no comparison says yes or no where one possible value says the opposite."""
    possible = completions(held)[:: max(1, len(completions(held)) // 64)]
    assert held.equals(wanted) in truth([each == wanted for each in possible])
    assert held.at_least(wanted) in truth([each >= wanted for each in possible])
    assert held.at_most(wanted) in truth([each <= wanted for each in possible])
    masked = held.masked(mask, flipped)
    for each in possible:
        after = bytes((one & two) ^ three for one, two, three in zip(each, mask, flipped, strict=True))
        assert masked.equals(after) is not Tri.NO
    assert held.swapped(2).swapped(2) == held


def test_three_answers() -> None:
    """Maybe is weaker than no in `and`, and weaker than yes in `or`."""
    assert Tri.MAYBE & Tri.NO is Tri.NO
    assert Tri.MAYBE | Tri.YES is Tri.YES
    assert ~Tri.MAYBE is Tri.MAYBE
    assert any_of([]) is Tri.NO


def test_what_is_behind_the_last_byte_is_unknown() -> None:
    """A rule may look at bytes of which a flow says nothing."""
    assert Bits.of(b"\1").part(0, 2) == Bits(b"\1\0", b"\xff\0")
    assert not Bits.of(b"\1").part(0, 2).is_known
