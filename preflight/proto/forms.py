"""The forms in which a secret may come back: as it is, and as JSON, HTML, URLs and Python write it."""

import json
from html import escape
from urllib.parse import quote, quote_plus


def forms(secret: str) -> tuple[str, ...]:
    """Every form once, the longest first: a form that is part of another must not spoil it."""
    written = {
        secret,
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        escape(secret),
        escape(secret, quote=False),
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        repr(secret)[1:-1],
    }
    return tuple(sorted(written, key=lambda form: (-len(form), form)))
