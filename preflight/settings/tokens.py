"""The tokens of this node: the bearer that a worker would send, and the one-time token, each with the place that won.

A text that cannot be a token is a finding of this node and no error of its settings: it is kept out of every request,
and a check says what is wrong with it.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr

from preflight.model.token import HeldToken, TokenTrouble, UnreadLine
from preflight.proto.control.token_text import one_time_trouble, read_token
from preflight.settings.places import TOKEN, WorkerFile
from preflight.settings.reading import secret_bytes

WORKER_TOKEN = "VOX_MESH_WORKER_TOKEN"  # noqa: S105 - a variable's name
OTHER_TOKENS = {
    WORKER_TOKEN: "worker token",
    "VOX_MESH_SUBMITTER_TOKEN": "submitter token",
    "VOX_MESH_ADMIN_TOKEN": "admin token",
}


def in_variable(environ: Mapping[str, str], name: str) -> HeldToken | None:
    """The token in a variable; None if it is unset or blank. Workers and servers take blanks around it away."""
    text = environ.get(name, "")
    return _held(name, text.strip(" \t").encode("utf-8", "surrogateescape")) if text.strip() else None


def in_file(path: Path, source: str) -> HeldToken:
    """The token in a file that holds only it. Raises SettingsError if nobody can read the file."""
    return _held(source, secret_bytes(path, source), path)


def in_lines(file: WorkerFile) -> HeldToken | None:
    """The bearer in one of the workers' files."""
    text = file.values.get(TOKEN)
    return None if text is None else _held(file.place(TOKEN), text.encode(), file.path, line=True)


def _unread(file: WorkerFile, line: UnreadLine) -> HeldToken:
    """A bearer that no worker reads; what is wrong with its text is cleaned away with what is in front of its name."""
    _, wrong = read_token(line.text.encode())
    inside = wrong.cleaned_by if wrong is not None else ()
    cleaned = (line.behind, *inside) if wrong is None or inside else ()
    return HeldToken(file.place(TOKEN), None, TokenTrouble(line.behind, line.said, cleaned), file.path, line=True)


def _held(source: str, raw: bytes, path: Path | None = None, *, line: bool = False) -> HeldToken:
    text, trouble = read_token(raw)
    return HeldToken(source, None if trouble else SecretStr(text), trouble, path, line)


def bearers(environ: Mapping[str, str], token_file: Path | None, files: Iterable[WorkerFile]) -> tuple[HeldToken, ...]:
    """Every place of the bearer that workers send, the strongest first. They read `VOX_MESH_TOKEN` and no other name.

    Raises SettingsError.
    """
    named = in_file(token_file, "control.token_file") if token_file is not None else None
    found = (in_variable(environ, TOKEN), named, *map(in_lines, files))
    read = tuple(each for each in found if each is not None)
    return read or tuple(_unread(file, each) for file in files for each in file.unread if each.name == TOKEN)[:1]


def one_time(
    held: HeldToken | None, bearer: HeldToken | None, environ: Mapping[str, str], submitter: HeldToken | None
) -> HeldToken | None:
    """The one-time token, with the trouble that it is another token of this node."""
    if held is None or held.value is None:
        return held
    known = [("mesh token", bearer), ("submitter token", submitter)]
    known += [(word, in_variable(environ, name)) for name, word in OTHER_TOKENS.items()]
    others = {word: each.value.get_secret_value() for word, each in known if each is not None and each.value}
    trouble = one_time_trouble(held.value.get_secret_value(), others)
    return held if trouble is None else HeldToken(held.source, None, trouble, held.path)


def differing(found: Sequence[HeldToken]) -> tuple[HeldToken, ...]:
    """The places whose bearer differs from that of the first; compared in constant time."""
    good = [each for each in found if each.value is not None]
    return tuple(each for each in good[1:] if not _same(each, good[0]))


def _same(one: HeldToken, other: HeldToken) -> bool:
    texts = [each.value.get_secret_value().encode() for each in (one, other) if each.value is not None]
    return len(texts) == 2 and hmac.compare_digest(*texts)
