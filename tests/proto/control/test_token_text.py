"""A token that cannot be right is known before anything sends it, and the command cleans what it says it cleans."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preflight.model.fix import TokenAlone
from preflight.proto.control.token_text import (
    accepted_once,
    jwt_claims,
    jwt_trouble,
    one_time_trouble,
    read_token,
)

NOW = 1_900_000_000.0


@pytest.mark.parametrize(
    ("raw", "problem", "left"),
    [
        (b"\xef\xbb\xbfsecret-1\n", "BOM", "secret-1"),
        (b"secret-1\r\n", "CR LF", "secret-1"),
        (b'"secret-1"\n', "quotes", "secret-1"),
        (b"'secret-1'", "quotes", "secret-1"),
        (b"VOX_MESH_TOKEN=secret-1\n", "NAME=", "secret-1"),
        (b"export TOKEN = 'secret-1'\r\n", "CR LF", "secret-1"),
        (b"Bearer secret-1\n", "Bearer", "secret-1"),
        (b"  secret-1\t\n", "white space", "secret-1"),
        (b"\n\nsecret-1\n", "white space", "secret-1"),
        (b"secret 1\n", "white space", "secret 1"),
        (b"secret-1\nsecret-2\n", "several lines", "secret-1\nsecret-2"),
        (b"${VOX_MESH_TOKEN}\n", "placeholder", "${VOX_MESH_TOKEN}"),
        (b'"$VOX_MESH_TOKEN"\n', "placeholder", "$VOX_MESH_TOKEN"),
        (b"VOX_MESH_TOKEN=<your token>\n", "placeholder", "<your token>"),
        (b"{{ vault_mesh_token }}\n", "placeholder", "{{ vault_mesh_token }}"),
        (b"%VOX_MESH_TOKEN%\r\n", "placeholder", "%VOX_MESH_TOKEN%"),
        (b'{"mesh_token": "secret-1"}\n', "JSON", '{"mesh_token": "secret-1"}'),
        (b'{\n  "mesh_token": "secret-1"\n}\n', "JSON", '{\n"mesh_token": "secret-1"\n}'),
        (b"null\n", "placeholder", "null"),
        (b"secret-****\n", "masked", "secret-****"),
        (b"secret-...\n", "masked", "secret-..."),
        (b"https://vault.example/secret-1\n", "URL", "https://vault.example/secret-1"),
        (b"<!DOCTYPE html>\n<html></html>\n", "HTML", "<!DOCTYPE html>\n<html></html>"),
        (b"-----BEGIN PRIVATE KEY-----\nabc\n", "PEM", "-----BEGIN PRIVATE KEY-----\nabc"),
        (b"secret-1,\n", "punctuation", "secret-1,"),
        (b"`secret-1`\n", "punctuation", "`secret-1`"),
        (b"", "empty", ""),
        (b" \r\n\n", "empty", ""),
        (b'""\n', "empty", ""),
        (b"VOX_MESH_TOKEN=\n", "empty", ""),
        (b"\xff\xfes\0e\0c\0r\0", "UTF-16", ""),
        (b"\x80secret", "not text", ""),
        ("s\u00e9cret-1".encode(), "not printable ASCII", "s\u00e9cret-1"),
        (b"secret\x1b[0m", "not printable ASCII", "secret\x1b[0m"),
    ],
)
def test_what_is_no_token(raw: bytes, problem: str, left: str) -> None:
    """Each kind has its word, and no sentence shows a character of the token."""
    text, trouble = read_token(raw)
    assert trouble is not None
    assert (trouble.problem, text) == (problem, left)
    assert "secret-" not in trouble.said


@pytest.mark.parametrize(
    "raw",
    [
        b"secret-1",
        b"secret-1\n",
        b"secret-1\n\n",
        b"YWJjZA==\n",
        b"=\n",
        b"a.b.c\n",
        b"nullable\n",
        b"a**b..c:d/e,f\n",
        b"'\n",
        b"{secret-1}\n",
        b"a$b<c>\n",
        b"$2b$12$secret\n",
        b"$ecret\n",
    ],
)
def test_what_can_be_a_token(raw: bytes) -> None:
    """A last line end is not a fault, and the padding of base64 is not an assignment."""
    assert read_token(raw) == (raw.decode().rstrip("\n"), None)


wrapped = st.builds(
    lambda token, bom, blanks, name, quote, end: f"{bom}{blanks}{name}{quote}{token}{quote}{blanks}{end}".encode(),
    st.from_regex(r"[A-Za-z0-9_~+/.-]{6,40}=?", fullmatch=True),
    st.sampled_from(("", "\ufeff")),
    st.sampled_from(("", " ", "\t ")),
    st.sampled_from(("", "VOX_MESH_TOKEN=", "export T=", "bearer ")),
    st.sampled_from(("", '"', "'")),
    st.sampled_from(("", "\n", "\r\n", "\n\n")),
)


@given(wrapped)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_command_leaves_what_was_said(tmp_path: Path, raw: bytes) -> None:
    """What is called cleanable is a good token after the command of the remedy, and the one that was inside."""
    text, trouble = read_token(raw)
    if trouble is None or not trouble.cleaned_by:
        return
    path = tmp_path / "token"
    path.write_bytes(raw)
    (command,) = TokenAlone(path=str(path), rids=trouble.cleaned_by).commands
    subprocess.run(command, check=True)
    assert read_token(path.read_bytes()) == (text, None)


@given(st.binary(max_size=80))
def test_any_bytes_are_judged(raw: bytes) -> None:
    """No content of a file ends the run, and what passes can be a header's value on one line."""
    text, trouble = read_token(raw)
    if trouble is None:
        assert text
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text


def jwt(**claims: object) -> str:
    def part(document: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2ln"


@pytest.mark.parametrize(
    ("claims", "problem"),
    [
        ({"exp": NOW + 3600}, None),
        ({"exp": NOW - 30}, None),
        ({"exp": NOW - 61}, "expired"),
        ({"exp": NOW + 3600, "nbf": NOW + 3600}, "not valid yet"),
        ({"exp": NOW + 3600, "nbf": NOW + 30}, None),
        ({"exp": NOW * 1000}, None),
        ({"exp": "soon"}, "claims"),
        ({"exp": True}, "claims"),
        ({"exp": NOW + 3600, "jti": None}, "claims"),
        ({"exp": NOW + 3600, "role": None}, "claims"),
    ],
)
def test_what_a_jwt_says_of_itself(claims: dict[str, object], problem: str | None) -> None:
    """Expired and early tokens are known here, with the server's leeway, and those that lack what it requires."""
    found = jwt_claims(jwt(**{"role": "worker", "jti": "1", **claims}))
    assert found is not None
    trouble = jwt_trouble(found, NOW)
    assert (trouble.problem if trouble else None) == problem


def test_a_jwt_that_nobody_signed() -> None:
    """With the algorithm none there is no signature, and no server accepts that."""
    _, payload, _ = jwt(role="worker", jti="1", exp=NOW + 3600).split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    found = jwt_claims(f"{unsigned}.{payload}.")
    assert found is not None
    trouble = jwt_trouble(found, NOW)
    assert trouble is not None
    assert trouble.problem == "not signed"


@pytest.mark.parametrize("text", ["secret", "a.b.c", "..", "e30.e30.x", "eyJhbGciOjF9.e30.x", "\u00e9.b.c"])
def test_what_is_no_jwt(text: str) -> None:
    """Two dots do not make a JWT: an opaque token is never judged by dates."""
    assert jwt_claims(text) is None
    assert not accepted_once(text)


def test_a_jwt_with_an_id_is_accepted_once() -> None:
    """Such a bearer is not used up by a check."""
    assert accepted_once(jwt(jti="1", role=" Worker "))
    assert not accepted_once(jwt(role="worker"))
    claims = jwt_claims(jwt(jti="1", role=" Worker "))
    assert claims is not None
    assert claims.role == "worker"


def test_another_token_of_this_node_is_no_one_time_token() -> None:
    """It is known before it is sent, and named by its role."""
    found = one_time_trouble("of-a-worker", {"mesh token": "of-all", "worker token": "of-a-worker"})
    assert found is not None
    assert found.problem == "worker token"
    found = one_time_trouble(jwt(jti="1"), {})
    assert found is not None
    assert found.problem == "JWT"
    assert one_time_trouble("one-time", {"mesh token": "of-all"}) is None
    found = one_time_trouble(base64.b64encode(b"once-3f6a9b1c2d4e5f60\n").decode(), {})
    assert found is not None
    assert found.problem == "base64"
    assert one_time_trouble(base64.b64encode(bytes(range(120, 152))).decode(), {}) is None
    assert one_time_trouble(base64.b64encode(b"short-one").decode(), {}) is None


def test_a_jwt_of_another_algorithm() -> None:
    """Protects from a green node: control planes accept one algorithm, and the header says which one was used."""
    _, payload, signature = jwt(role="worker", jti="1", exp=NOW + 3600).split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS512"}').decode().rstrip("=")
    found = jwt_claims(f"{head}.{payload}.{signature}")
    assert found is not None
    trouble = jwt_trouble(found, NOW)
    assert trouble is not None
    assert (trouble.problem, "HS512" in trouble.said) == ("HS512", True)
