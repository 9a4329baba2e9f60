r"""Finds known secrets in a text however they are encoded, by decoding the text.

The text is read as bytes. Each decoding is a *view*: its bytes, and a map from a span of them back to the span of the
text. Escapes are decoded until nothing changes (percent, `\u0041`, `\x41`, `\/`, `&amp;`, `&#65;`), then quotes,
backslashes and white space are removed, and the secret is searched in each of these views. Where white space may have
cut an escape, it is also removed before the escape is decoded. Base64 and base64url (RFC 4648) are decoded at all four
phases, hexadecimal at both, and what looks like text in the result is searched in the same way, two decodings deep.
The time grows with the length of the text.
"""

import re
from array import array
from binascii import a2b_base64
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from html import unescape
from itertools import accumulate, chain, pairwise
from string import ascii_letters, digits, hexdigits
from typing import NamedTuple

MINIMUM_SECRET = 6
"""Characters. A shorter value would match inside ordinary words; no credential is that short."""
_DECODINGS = 2
_ROUNDS = 6
"""Rounds of decoding escapes: a percent sign is `%25`, then `%2525`, and so on."""

# A backslash before another escape, or cut off from its own by the end of a line, is left to the next round.
_ESCAPE = re.compile(
    rb"%0(?P<end>[ADad]\++)"  # a line's end, and the blanks that a form writes as plus signs behind it
    rb"|%(?P<percent>[0-9A-Fa-f]{2})"
    rb"|\\x(?P<byte>[0-9A-Fa-f]{2})"
    rb"|\\u(?P<high>[Dd][89ABab][0-9A-Fa-f]{2})\\u(?P<low>[Dd][C-Fc-f][0-9A-Fa-f]{2})"
    rb"|\\(?:u(?P<short>[0-9A-Fa-f]{4})|U(?P<long>[0-9A-Fa-f]{8})|u\{(?P<braced>[0-9A-Fa-f]{1,6})\})"
    rb"|\\(?P<letter>[nrtbfv])|\\(?!\s+(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}))(?P<sign>[^0-9A-Za-z%&])"
    rb"|&(?P<entity>#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,8});"
)
_LETTERS = dict(zip(b"nrtbfv", b"\n\r\t\b\f\v", strict=True))
_WRAPPING = b" \t\r\n\v\f\0"
_QUOTING = b"\"'`\\"
"""What may separate the characters of a wrapped or quoted word."""
_CUT = re.compile(rb"[\\%&][0-9A-Za-z#{\\]{0,9}[ \t\r\n\v\f\0]")
"""What an escape looks like whose end is behind white space, such as on the next line."""
_NOT_BASE64 = bytes(set(range(256)) - set(b"+/-_" + (ascii_letters + digits).encode()))
_NOT_HEX = bytes(set(range(256)) - set(hexdigits.encode()))
_STANDARD = bytes.maketrans(b"-_", b"+/")
# UTF-8 that is long enough to hold a secret; random bytes seldom look like this. It is searched with a letter for each
# byte's part in UTF-8 and without a counted loop, which the engine would begin again at each byte: three times as fast.
PARTS = bytearray(b"-" * 256)
for _part, _bytes in (
    (b"a", (*b"\t\n\r", *range(0x20, 0x7F))),
    (b"b", range(0x80, 0xC0)),
    (b"2", range(0xC2, 0xE0)),
    (b"3", range(0xE0, 0xF0)),
    (b"4", range(0xF0, 0xF5)),
):
    for _byte in _bytes:
        PARTS[_byte] = ord(_part)
_CHARACTER = rb"(?:a|2b|3bb|4bbb)"
TEXT = re.compile(_CHARACTER * 8 + rb"(?:a++|2b|3bb|4bbb)*+")

Span = tuple[int, int]


class _View(NamedTuple):
    """Bytes decoded from a text, and the map from a span of them back to the span of the text."""

    data: bytes
    back: Callable[[int, int], Span]

    def part(self, begin: int, end: int) -> "_View":
        return _View(self.data[begin:end], lambda i, j: self.back(begin + i, begin + j))


class Secrets:
    """Values that must not be shown. Those shorter than `MINIMUM_SECRET` characters are not searched."""

    def __init__(self, values: Iterable[str]) -> None:
        known = {needle for value in values if len(value) >= MINIMUM_SECRET for needle in _needles(value)}
        self._needles = tuple(sorted(known))

    def replaced(self, text: str, by: str) -> tuple[str, int]:
        """The text with every secret replaced in every encoding, and the number of places."""
        (text,), count = self.replaced_in((text,), by)
        return text, count

    def replaced_in(self, texts: Sequence[str], by: str) -> tuple[list[str], int]:
        """The same for consecutive texts, such as lines: a secret may be split over several of them."""
        if not self._needles:
            return list(texts), 0
        pieces = [text.encode("utf-8", "surrogatepass") for text in texts]
        spans = _united(_spans(_whole(b"\n".join(pieces)), self._needles, _DECODINGS))
        begins = [0, *accumulate(len(piece) + 1 for piece in pieces)]
        cuts: dict[int, list[Span]] = {}
        for begin, end in spans:
            for number in range(bisect_right(begins, begin) - 1, bisect_left(begins, end)):
                cuts.setdefault(number, []).append((begin - begins[number], end - begins[number]))
        found = {number: _cut(pieces[number], own, by) for number, own in cuts.items()}
        return [found.get(number, text) for number, text in enumerate(texts)], len(spans)


def _cut(piece: bytes, spans: Iterable[Span], by: str) -> str:
    """The text with these spans replaced, as far as they lie within it."""
    kept, at = [], 0
    for begin, end in spans:
        kept.append(piece[at : max(begin, 0)])
        at = end
    return by.join(part.decode("utf-8", "replace") for part in (*kept, piece[at:]))


def _needles(value: str) -> Iterator[bytes]:
    """The secret, the secret without quotes and white space, and the bytes that it encodes if it is an encoded key."""
    secret = value.encode("utf-8", "surrogateescape")
    yield secret
    bare = _layers(_whole(secret))[-1].data
    meanings = [bare]
    if b" " in secret:  # as forms write it (application/x-www-form-urlencoded)
        meanings.append(_layers(_whole(secret.replace(b" ", b"+")))[-1].data)
    if re.fullmatch(rb"(?:[0-9A-Fa-f]{2})+", bare):
        meanings.append(bytes.fromhex(bare.decode()))
    if re.fullmatch(rb"[A-Za-z0-9+/_-]+={0,2}", bare):
        meanings.append(_from_base64(bare.rstrip(b"=")))
    yield from (meaning for meaning in meanings if len(meaning) >= MINIMUM_SECRET)


def _spans(view: _View, needles: Sequence[bytes], decodings: int) -> Iterator[Span]:
    """Where a needle occurs, overlapping occurrences included."""
    chains = [layers := _layers(view), *_joined(layers)]
    for layer in chain.from_iterable(chains):
        yield from _hits(layer, needles)
    if decodings:
        for decoded in (each for layers in chains for layer in _to_decode(layers) for each in _decoded(layer)):
            yield from _hits(decoded, needles)
            for run in TEXT.finditer(decoded.data.translate(PARTS)):
                yield from _spans(decoded.part(*run.span()), needles, decodings - 1)


def _hits(view: _View, needles: Sequence[bytes]) -> Iterator[Span]:
    for needle in needles:
        at = view.data.find(needle)
        while at >= 0:
            yield view.back(at, at + len(needle))
            at = view.data.find(needle, at + len(needle))


def _united(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, overlapping ones merged."""
    united: list[Span] = []
    for begin, end in sorted(spans):
        if united and begin < united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((begin, end))
    return united


def _layers(view: _View) -> list[_View]:
    """The view itself, with its escapes decoded round by round, without what wraps it, and without what quotes it."""
    layers = _undone(view)
    for added in (_WRAPPING, _QUOTING):
        bare = _without(layers[-1], added)
        if bare is not layers[-1]:
            layers += _undone(bare)
    return layers


def _joined(layers: Sequence[_View]) -> Iterator[list[_View]]:
    """For each layer in which white space may cut an escape: that layer without white space, and its own layers.

    Those that end in what is known already are left out: they hold no other secret, and each takes its time.
    """
    known = {layers[-1].data}
    for layer in layers:
        if _CUT.search(layer.data):
            own = _layers(_without(layer, _WRAPPING))
            if own[-1].data not in known:
                known.add(own[-1].data)
                yield own


def _to_decode(layers: Sequence[_View]) -> list[_View]:
    """The first and the last layer: a stray `\\` before digits may make an escape that takes one of them.

    Also one without white space that has escapes: `% 3331` has none, `%3331` loses two digits.
    """
    joined = [
        after for before, after in pairwise(layers) if _ESCAPE.search(after.data) and not _ESCAPE.search(before.data)
    ]
    first = [layers[0]] if _ESCAPE.search(layers[0].data) else []
    return [*first, *joined, layers[-1]]


def _undone(view: _View) -> list[_View]:
    layers = [view]
    while len(layers) <= _ROUNDS and (plain := _unescaped(layers[-1])).data != layers[-1].data:
        layers.append(plain)
    return layers


def _whole(data: bytes) -> _View:
    return _View(data, lambda i, j: (i, j))


def _unescaped(view: _View) -> _View:
    """The view with every escape decoded; the same view if it has none."""
    found = [(*escape.span(), _meaning(escape)) for escape in _ESCAPE.finditer(view.data)]
    if not found:
        return view
    pieces, places, at, length = [], [], 0, 0
    for begin, end, meaning in found:
        pieces += [view.data[at:begin], meaning]
        length += begin - at
        places.append((length, begin, end, len(meaning)))
        length, at = length + len(meaning), end
    pieces.append(view.data[at:])
    begins = [place[0] for place in places]

    def source(i: int) -> Span:
        number = bisect_right(begins, i) - 1
        if number < 0:
            return i, i + 1
        place, begin, end, size = places[number]
        past = i - place - size
        return (begin, end) if past < 0 else (end + past, end + past + 1)

    return _View(b"".join(pieces), lambda i, j: view.back(source(i)[0], source(j - 1)[1]))


def _meaning(escape: re.Match[bytes]) -> bytes:
    """One escape decoded, as UTF-8."""
    kind, digits = escape.lastgroup, escape[escape.lastgroup or 0]
    if kind in ("percent", "byte"):
        return bytes((int(digits, 16),))
    if kind == "end":
        return b"\n"
    if kind == "letter":
        return bytes((_LETTERS[digits[0]],))
    if kind == "sign":
        return digits
    if kind == "entity":
        return unescape(escape[0].decode()).encode()
    if kind == "low":
        return (bytes.fromhex(escape["high"].decode()) + bytes.fromhex(digits.decode())).decode("utf-16-be").encode()
    point = int(digits, 16)
    return chr(point).encode("utf-8", "surrogatepass") if point < 0x110000 else b""


def _without(view: _View, added: bytes) -> _View:
    """The view without some bytes; the same view if it has none of them."""
    data = view.data.translate(None, added)
    if len(data) == len(view.data):
        return view

    @cache
    def places() -> "array[int]":
        return array("Q", (place for place, byte in enumerate(view.data) if byte not in added))

    return _View(data, lambda i, j: view.back(places()[i], places()[j - 1] + 1))


def _decoded(view: _View) -> Iterator[_View]:
    """Base64 and hexadecimal decoded, at every phase, whatever separates the digits."""
    signs = _without(view, _NOT_BASE64)
    for phase in range(4):
        yield _base64(signs.part(phase, len(signs.data)))
    signs = _without(view, _NOT_HEX)
    for phase in range(2):
        yield _hexadecimal(signs.part(phase, len(signs.data)))


def _base64(digits: _View) -> _View:
    """Three bytes for four digits: a byte's bits begin in one digit and end in the next."""
    return _View(_from_base64(digits.data), lambda i, j: digits.back(i * 4 // 3, (j * 4 + 2) // 3))


def _from_base64(digits: bytes) -> bytes:
    """Decodes digits of either alphabet without padding; a surplus last digit is ignored."""
    whole = digits[:-1] if len(digits) % 4 == 1 else digits
    return a2b_base64(whole.translate(_STANDARD) + b"=" * (-len(whole) % 4))


def _hexadecimal(digits: _View) -> _View:
    whole = digits.data[: len(digits.data) & ~1]
    return _View(bytes.fromhex(whole.decode("ascii")), lambda i, j: digits.back(2 * i, 2 * j))
