"""Known secrets are found however they are written, and nothing else is."""

import base64
import html
import json
import re
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from preflight.proto.control.populi import shown
from preflight.proto.secrets.secret_encodings import MINIMUM_SECRET, PARTS, TEXT, Secrets

SECRETS = [
    "plain-token-0815",
    "with\"quotes'and\\slash",
    "base64+/=tail",
    "<angle>&amp",
    "ümlaut-und-€-token",
    "two words and more",
]
KEY = bytes(range(200, 232))


def base64_at(before: int, altchars: bytes = b"+/") -> Callable[[str], str]:
    """Inside of longer text in base64, after this many bytes."""
    return lambda text: base64.b64encode(b"u" * before + text.encode() + b"!", altchars).decode()


def wrapped(text: str) -> str:
    """Two lines, the second one indented."""
    return f"{text[: len(text) // 2]}\r\n    {text[len(text) // 2 :]}"


def every_second_percent(text: str) -> str:
    """Percent-encoded in part, and in lower case."""
    return "".join(
        f"%{byte:02x}" if n % 2 or byte > 127 or byte == 37 else chr(byte) for n, byte in enumerate(text.encode())
    )


def json_escapes(text: str) -> str:
    r"""All of it as \uXXXX, of UTF-16."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[n]:02X}{units[n + 1]:02x}" for n in range(0, len(units), 2))


WRITINGS: dict[str, Callable[[str], str]] = {
    "itself": str,
    "base64 phase 0": base64_at(0),
    "base64 phase 1": base64_at(1),
    "base64 phase 2": base64_at(2),
    "base64url": lambda text: base64_at(4, b"-_")(text).rstrip("="),
    "base64 in lines": lambda text: base64.encodebytes(b"x" * 50 + text.encode() + b"y" * 50).decode(),
    "hexadecimal": lambda text: text.encode().hex(),
    "HEX with colons": lambda text: text.encode().hex(":").upper(),
    "hex with blanks": lambda text: text.encode().hex(" "),
    "percent": lambda text: quote(text, safe=""),
    "percent, all": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "percent, some": every_second_percent,
    "form": quote_plus,
    "JSON": lambda text: json.dumps({"t": text}),
    "JSON in JSON": lambda text: json.dumps(json.dumps([text])),
    "JSON, all": json_escapes,
    "JSON, slashes": lambda text: json.dumps(text).replace("/", "\\/"),
    "HTML": html.escape,
    "HTML, all": lambda text: "".join(f"&#x{ord(c):x};" for c in text),
    "shell": shlex.quote,
    "Python": lambda text: repr([text]),
    "bytes of Python": lambda text: repr(text.encode()),
    "wrapped": wrapped,
}
secrets = st.text(st.characters(min_codepoint=33, exclude_categories=("C", "Z")), min_size=12, max_size=40).filter(
    lambda text: len(set(text)) > 6
)
writings = st.sampled_from(sorted(WRITINGS))
surroundings = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@pytest.mark.parametrize("inner", WRITINGS)
@pytest.mark.parametrize("secret", SECRETS)
def test_every_writing_is_found(secret: str, inner: str) -> None:
    """Whatever wrote the secret down, it is gone."""
    written = WRITINGS[inner](secret)
    left, count = Secrets([secret]).replaced(f"before {written} after", "")
    assert count == 1
    assert len(left) <= len("before  after") + len(written) - len(secret)
    assert secret not in left


@example("000001234\\¡¡", "JSON", "percent, some", "", "")
@example("000000123456", "HEX with colons", "HEX with colons", "%", "")
@given(secrets, writings, writings, surroundings, surroundings)
def test_writings_of_writings_are_found(secret: str, inner: str, outer: str, before: str, after: str) -> None:
    """Two deep, as the base64 of a percent-encoded secret, in any surroundings."""
    written = WRITINGS[outer](WRITINGS[inner](secret))
    assert Secrets([secret]).replaced(f"{before} {written} {after}", "")[1] >= 1


@given(st.text(max_size=200))
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    """Whatever a text looks like, it is only changed where a secret is."""
    assert Secrets(["correct-horse-battery"]).replaced(text, "x") == (text, 0)
    assert Secrets([]).replaced(text, "x") == (text, 0)


@pytest.mark.parametrize("writing", ["JSON", "JSON in JSON", "JSON, all", "HTML, all", "percent, all", "Python"])
def test_an_escape_that_a_line_end_cuts_is_read(writing: str) -> None:
    """Wherever the line ends, also between a backslash and its letter, and between the halves of a surrogate pair."""
    secret = "ab\"cd'\\ef-🔒-é-€/gh"
    written = WRITINGS[writing](secret)
    for at in range(1, len(written)):
        left, count = Secrets([secret]).replaced(f"{written[:at]}\n        {written[at:]}", "")
        assert count == 1, written[:at]
        assert len(left) <= len(written) + 9 - len(secret)


@pytest.mark.parametrize("written", [KEY.hex().upper(), KEY.hex(":"), base64.urlsafe_b64encode(KEY).decode()])
@pytest.mark.parametrize("known", [KEY.hex(), base64.b64encode(KEY).decode()])
def test_a_key_is_found_in_the_other_encoding(known: str, written: str) -> None:
    """A key is its bytes: WireGuard prints base64, its socket speaks hexadecimal."""
    assert Secrets([known]).replaced(f"key {written}.", "")[1] == 1


def test_a_secret_that_is_split_over_lines_goes_from_each() -> None:
    """An answer that is kept line by line shows no half of a token."""
    lines = ["X-Token: correct-", "horse", "", "-battery; path=/"]
    assert Secrets(["correct-horse-battery"]).replaced_in(lines, "*") == (["X-Token: *", "*", "*", "*; path=/"], 1)


def test_a_value_too_short_for_a_secret_is_left_alone() -> None:
    """Five letters would tear holes into words."""
    short = "abcdef"[: MINIMUM_SECRET - 1]
    assert Secrets([short, ""]).replaced(f"x{short}y", "") == (f"x{short}y", 0)


def test_an_answer_that_quotes_the_request_as_json_shows_no_secret() -> None:
    """A debug page shows the body as it was sent: the quote inside the token has a backslash there."""
    body = json.dumps({"bootstrap_token": SECRETS[1]}).encode()
    assert shown(b"bad request: " + body, (SECRETS[1],)) == 'bad request: {"bootstrap_token": "[secret]"}'


PLAIN_TEXT = re.compile(
    rb"(?:[\t\n\r\x20-\x7e]|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}){8,}"
)


@given(
    st.lists(st.binary(max_size=4) | st.sampled_from([b"a" * 7, *map(str.encode, ("ä", "€", "😀", "\n"))]), max_size=40)
)
def test_text_within_bytes_is_found_as_written_in_the_standard(parts: list[bytes]) -> None:
    """The fast search for UTF-8 takes no other bytes than the slow one, which names them (RFC 3629 section 4)."""
    data = b"".join(parts)
    fast = [found.span() for found in TEXT.finditer(data.translate(PARTS))]
    assert fast == [found.span() for found in PLAIN_TEXT.finditer(data)]
