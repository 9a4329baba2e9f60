"""Reading the wire contract's bodies: strict where we rely on them, lenient elsewhere, silent about secrets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.model.control import ControlError, HttpAnswer
from preflight.model.printable import EXCERPT_CHARACTERS
from preflight.proto.control import populi

ROW = {"id": "n", "capabilities": {}, "version": "1", "last_seen_unix_ms": 5, "future": [1]}
MAIL = {
    "id": 7,
    "sender_agent_id": "1",
    "receiver_agent_id": "2",
    "message_type": "t",
    "payload": "p",
    "created_unix_ms": 9,
}
READERS = [populi.node_record, populi.node_list, populi.credential, populi.message_id, populi.mailbox_rows]


def test_good_bodies() -> None:
    """Every field that we use is read, and unknown ones are kept."""
    record = populi.node_record({**ROW, "quarantined": True, "maintenance": True, "scope_id": "s"})
    assert (record.id, record.scope_id, record.quarantined, record.draining) == ("n", "s", True, True)
    assert record.fields["future"] == [1]
    nodes = populi.node_list({"schema_version": 1, "nodes": [ROW], "more": 1})
    assert len(nodes.nodes) == 1
    issued = populi.credential({"mesh_token": "secret-secret", "scope_id": "s"})
    assert (issued.mesh_token.get_secret_value(), issued.scope_id) == ("secret-secret", "s")
    assert populi.message_id({"accepted": True, "message_id": "12"}) == 12
    assert populi.mailbox_rows({"messages": [MAIL]})[0].id == 7


@pytest.mark.parametrize("scope", [None, "", 5, "a\nLD_PRELOAD=/x"])
def test_an_unusable_scope_is_none(scope: Any) -> None:
    """A scope that could smuggle a line into the credentials file is not taken."""
    assert populi.credential({"mesh_token": "secret-secret", "scope_id": scope}).scope_id is None


@pytest.mark.parametrize("token", ["", None, 5, "a\nb", "é", " \x00"])
def test_a_token_that_no_header_carries_is_refused(token: Any) -> None:
    """And the complaint does not show it."""
    with pytest.raises(ControlError, match="mesh_token"):
        populi.credential({"mesh_token": token, "scope_id": "s"})


def test_a_credentials_repr_hides_its_token() -> None:
    """A credential may be printed by accident."""
    assert "secret-secret" not in repr(populi.credential({"mesh_token": "secret-secret", "scope_id": "s"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*ROW, *MAIL, "nodes", "messages", "mesh_token", "message_id"]), inner, max_size=6
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("read", READERS)
@given(body=JSON)
def test_any_json_is_read_or_refused(read: Any, body: Any) -> None:
    """A stranger's JSON is a typed error with the status it came with, never a crash and never worth a repeat."""
    refusal = _refusal(read, body)
    assert refusal is None or (refusal.kind, refusal.status) == ("protocol", 200)


def _refusal(read: Any, body: Any) -> ControlError | None:
    try:
        read(body)
    except ControlError as error:
        return error
    return None


def test_what_an_error_shows() -> None:
    """One printable line without the secrets that were sent, cut to a length for a message."""
    text = populi.shown(b"bad\x1b[31m token s3cr3t-s3cr3t\r\n\xff" + b"x" * 500, ("s3cr3t-s3cr3t", ""))
    assert "s3cr3t" not in text
    assert "[secret]" in text
    assert text.isprintable()
    assert len(text) <= EXCERPT_CHARACTERS + 1


@pytest.mark.parametrize(
    ("body", "headers", "word"),
    [
        (b" ", {}, "empty body"),
        (b"\xef\xbb\xbf{}", {"content-type": "application/json"}, "byte order mark"),
        (b"\x1f\x8b", {"content-encoding": "gzip"}, "compressed (gzip)"),
        (b"<html>", {"content-type": "text/html"}, "begins with '<html>'"),
    ],
)
def test_what_is_no_json(body: bytes, headers: dict[str, str], word: str) -> None:
    """Someone who repairs a gateway needs to know what it made of the answer."""
    assert word in populi.no_json(HttpAnswer(200, headers, body, 1.0, 0.0, 0.0))
