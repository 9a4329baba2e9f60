"""What a wrong URL was meant to say, for mistakes of copying and typing; pure.

A guess is only asked for its health, without anything secret, and offered where a control plane answers.
"""

import re
from unicodedata import normalize

INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
"""What is copied with a text from pages and chats, and not seen."""
_WEB = re.compile(r"https?:/+[^\s()<>|]+", re.IGNORECASE)
_PORT_TWICE = re.compile(r"(:\d{1,5})\1+(?=/|$)")
_OPEN_BRACKET = re.compile(r"//\[([0-9a-f:]+):(\d{1,5})(?=/|$)", re.IGNORECASE)
_CLOSED_BRACKET = re.compile(r"//([0-9a-f:]+\])", re.IGNORECASE)


def guess(text: str) -> str:
    """The text with plain signs, and alone where words or marks are around it."""
    plain = INVISIBLE.sub("", normalize("NFKC", text)).replace("\\", "/")
    found = _WEB.search(plain)
    web = (found.group() if found else plain).rstrip(".,;:!\"'`")
    web = _PORT_TWICE.sub(r"\1", web)
    return _CLOSED_BRACKET.sub(r"//[\1", _OPEN_BRACKET.sub(r"//[\1]:\2", web))
