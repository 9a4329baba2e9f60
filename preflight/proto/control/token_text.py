"""Can the text of a token be right? Judged before it is sent: some servers spend a one-time token on any attempt.

Pure. No sentence shows a character of a token.
"""

import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from preflight.model.printable import excerpt
from preflight.model.token import CLEANED_BY, TokenTrouble

_BOM = "\ufeff"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SPACE = " \t\v\f"
"""What `[[:space:]]` of sed matches inside a line."""
# The rest must not be padding alone: base64 ends with it.
_ASSIGNMENT = re.compile(r"(?:export[ \t]+)?[A-Za-z_][A-Za-z0-9_]*[ \t]*=[ \t]*(?=[^=\s])")
_UNSET = re.compile(r"(?:export[ \t]+)?VOX_[A-Z0-9_]*[ \t]*=")
_BEARER = re.compile(r"bearer[ \t]+", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\$\{[^{}]+\}|\$\([^()]+\)|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%|<[^<>]+>|\{\{.+\}\}")
"""What a shell, a template or a page writes where a value belongs; `$` and `<` in a token do not make one."""
_NO_VALUE = re.compile(r"null|none|nil|undefined", re.IGNORECASE)
_FOREIGN: Mapping[str, tuple[re.Pattern[str], str]] = {
    "placeholder": (_NO_VALUE, "holds a program's word for no value, such as null, and no token"),
    "masked": (re.compile(r".*(\*\*\*|\.\.\.).*"), "holds a masked token, as logs and pages show one"),
    "URL": (re.compile(r"[a-z][a-z0-9+.-]*://.*", re.IGNORECASE), "holds a URL, and not what is there"),
    "HTML": (re.compile(r"<(!doctype|html)\b.*", re.IGNORECASE | re.DOTALL), "is an HTML page, and no token"),
    "PEM": (re.compile(r"-----BEGIN .*", re.DOTALL), "is a key or a certificate in PEM, and no token"),
    "punctuation": (re.compile(r"`.*`|.*[,;]"), "has punctuation around the token: backticks, a comma or a semicolon"),
}
"""What no token is, by the whole text, and the sentence about it. The last one has a token inside."""
_SAID = {
    "BOM": "begins with a byte order mark (BOM), as some editors write it",
    "CR LF": "ends its line with CR LF, as Windows does",
    "white space": "has white space around the token",
    "NAME=": "has NAME= in front of the token",
    "quotes": "has quotes around the token",
    "Bearer": "has the word Bearer in front of the token",
}
_SHORTEST = 8
"""Characters of a token in base64: by chance, one of a few thousand random texts of that length is such a base64."""
_CERTAIN = 16
"""By chance, fewer than one of a million random texts of that length is the base64 of such a token."""
_CLAIMS = ("role", "jti", "exp")
"""Without one of them the control plane refuses a JWT."""
_END_OF_TIME_S = 1e12
LEEWAY_S = 60
"""How long servers accept a JWT after its end."""


def read_token(raw: bytes) -> tuple[str, TokenTrouble | None]:
    """The text of a token's file, or of a variable, and why it cannot be a token; the last line end is not a fault.

    With a fault that a command can clean away, the text is what would be left.
    """
    if raw.startswith(_UTF16):
        return "", TokenTrouble("UTF-16", "is UTF-16 text, as PowerShell writes it, and not UTF-8")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return "", TokenTrouble("not text", "is not text: it holds bytes that are not UTF-8")
    left, found = _without_wrapping(text)
    if not left:
        return "", TokenTrouble("empty", "is empty")
    wrong = _inside(left)
    if wrong is not None:
        return left, wrong
    if not found:
        return left, None
    said = " and ".join(_SAID[problem] for problem in found)
    return left, TokenTrouble(found[0], said, tuple(found))


def _without_wrapping(text: str) -> tuple[str, list[str]]:
    """What is left of a text when all that surrounds its token is gone, and what that was."""
    found: list[str] = []

    def note(problem: str, before: str, after: str) -> str:
        if after != before:
            found.append(problem)
        return after

    text = note("BOM", text, text.removeprefix(_BOM))
    lines = [note("CR LF", line, line.rstrip("\r")) for line in text.split("\n")]
    text = "\n".join(lines).rstrip("\n")
    bare = [line.strip(_SPACE) for line in text.split("\n")]
    text = note("white space", text, "\n".join(line for line in bare if line))
    if "\n" not in text:
        text = "" if _UNSET.fullmatch(text) else text
        text = note("NAME=", text, _ASSIGNMENT.sub("", text, count=1) if _ASSIGNMENT.match(text) else text)
        text = note("quotes", text, _unquoted(text))
        text = note("Bearer", text, _BEARER.sub("", text, count=1) if _BEARER.match(text) else text)
    kept = [problem for problem in CLEANED_BY if problem in found]
    return text, kept


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text


def _inside(text: str) -> TokenTrouble | None:
    """What is wrong with the token itself, which only a person can put right."""
    if _PLACEHOLDER.fullmatch(text):
        return TokenTrouble("placeholder", "holds a placeholder that nothing has replaced by a token")
    for problem, (pattern, said) in _FOREIGN.items():
        if pattern.fullmatch(text):
            return TokenTrouble(problem, said)
    if text.startswith("{") and _is_json(text):
        return TokenTrouble("JSON", "is a JSON document, and not the token in it")
    if "\n" in text:
        return TokenTrouble("several lines", "has several lines, and a token is one")
    if any(character.isspace() for character in text):
        return TokenTrouble("white space", "has white space inside the token")
    if not (text.isascii() and text.isprintable()):
        return TokenTrouble("not printable ASCII", "holds characters that no token has and no HTTP header can carry")
    if _unquoted(text) != text or _ASSIGNMENT.match(text):
        return TokenTrouble("quotes" if _unquoted(text) != text else "NAME=", "holds more than the token")
    return None


ALGORITHM, _ALGORITHM_SHOWN = "HS256", 12
"""What control planes sign and verify with, and how much of another name is shown."""


@dataclass(frozen=True, slots=True)
class JwtClaims:
    """What a JWT says of itself; times in Unix seconds. Nobody has checked its signature."""

    role: str | None = None
    jti: str | None = None
    exp: float | None = None
    nbf: float | None = None
    is_signed: bool = True
    algorithm: str = ALGORITHM


def jwt_claims(text: str) -> JwtClaims | None:
    """The claims of a JWT (RFC 7519) without its signature; None if the text is not one."""
    parts = text.split(".")
    if len(parts) != 3 or not all(parts[:2]) or not isinstance(_decoded(parts[0]).get("alg"), str):
        return None
    payload = _decoded(parts[1])
    role, jti = payload.get("role"), payload.get("jti")
    return JwtClaims(
        role=role.strip().lower() if isinstance(role, str) else None,
        jti=jti if isinstance(jti, str) else None,
        exp=_moment(payload.get("exp")),
        nbf=_moment(payload.get("nbf")),
        is_signed=_decoded(parts[0])["alg"].lower() != "none",
        algorithm=excerpt(_decoded(parts[0])["alg"], _ALGORITHM_SHOWN),
    )


def accepted_once(text: str) -> bool:
    """Whether a bearer is a JWT with an id, which the control plane accepts in one request only."""
    claims = jwt_claims(text)
    return claims is not None and claims.jti is not None


def _decoded(part: str) -> Mapping[str, Any]:
    from pydantic_core import from_json  # here, so that the catalogue needs no pydantic

    try:
        found = from_json(urlsafe_b64decode(part + "=" * (-len(part) % 4)), allow_inf_nan=False)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_json(text: str) -> bool:
    """Whether it is the whole document, such as the answer of an exchange."""
    from pydantic_core import from_json  # here, so that the catalogue needs no pydantic

    try:
        return isinstance(from_json(text), dict)
    except ValueError:
        return False


def _moment(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(max(-_END_OF_TIME_S, min(_END_OF_TIME_S, value)))  # milliseconds make a date that is far away


def decoded(text: str) -> str | None:
    """What a text is the base64 of, if that can be a token; None for any other, such as the base64 of random bytes.

    Such a text may be a token itself, so it is not a fault of a bearer, which may be sent twice.
    """
    try:
        plain = b64decode(text, validate=True).decode("ascii").rstrip("\n")
    except ValueError:
        return None
    return plain if len(plain) >= _SHORTEST and plain.isprintable() and " " not in plain else None


def one_time_trouble(text: str, others: Mapping[str, str]) -> TokenTrouble | None:
    """Why a well-formed text cannot be a one-time token: it is one of this node's bearers, or a JWT.

    others: this node's other tokens, each with the word for it, such as `mesh token`.
    """
    for word, other in others.items():
        if text == other:
            return TokenTrouble(word, f"holds the {word} of this node, which is no one-time token")
    if jwt_claims(text) is not None:
        return TokenTrouble("JWT", "holds a JWT, which is a bearer and no one-time token")
    plain = decoded(text)
    if plain is not None and len(plain) >= _CERTAIN:
        return TokenTrouble("base64", "holds the base64 of a text that can be a token, as Kubernetes shows secrets")
    return None


def jwt_trouble(claims: JwtClaims, now_unix_s: float) -> TokenTrouble | None:
    """Why the control plane must refuse a JWT now, by this node's clock; None if it may be right."""
    if not claims.is_signed:
        return TokenTrouble("not signed", "is a JWT that is not signed")
    if claims.algorithm != ALGORITHM:
        said = f"is a JWT signed by {claims.algorithm}, and control planes accept {ALGORITHM} alone"
        return TokenTrouble(claims.algorithm, said)
    lacking = [name for name in _CLAIMS if getattr(claims, name) is None]
    if lacking:
        return TokenTrouble("claims", f"is a JWT that lacks claims which it must have: {', '.join(lacking)}")
    if claims.exp is not None and claims.exp + LEEWAY_S <= now_unix_s:
        ago = _length(now_unix_s - claims.exp)
        return TokenTrouble("expired", f"is a JWT that expired {ago} ago by this node's clock")
    if claims.nbf is not None and claims.nbf - LEEWAY_S > now_unix_s:
        later = _length(claims.nbf - now_unix_s)
        return TokenTrouble("not valid yet", f"is a JWT that is not valid yet, for {later} more by this node's clock")
    return None


def _length(seconds: float) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} seconds"
