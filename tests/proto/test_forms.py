"""The forms of a secret."""

import json
from html import escape
from urllib.parse import quote

import pytest

from preflight.proto.forms import forms
from preflight.proto.populi import shown

SECRETS = ["plain-token-0815", "with\"quotes'and\\slash", "base64+/=tail", "<angle>&amp", "ümlaut-und-€-token"]


@pytest.mark.parametrize("secret", SECRETS)
def test_no_form_survives(secret: str) -> None:
    """Whatever wrote the secret down, taking out all forms leaves nothing of it."""
    for written in (json.dumps({"t": secret}), escape(secret), quote(secret, safe=""), repr([secret]), f"x{secret}y"):
        left = written
        for form in forms(secret):
            left = left.replace(form, "")
        assert len(left) <= len(written) - len(secret)


def test_an_answer_that_quotes_the_request_as_json_shows_no_secret() -> None:
    """A debug page shows the body as it was sent: the quote inside the token stands there with a backslash."""
    body = json.dumps({"bootstrap_token": SECRETS[1]}).encode()
    assert shown(b"bad request: " + body, (SECRETS[1],)) == 'bad request: {"bootstrap_token": "[secret]"}'
