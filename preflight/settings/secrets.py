"""Every secret of this node: the files that hold them, and the values that no report may show."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from preflight.proto.control.token_text import read_token
from preflight.settings.load import Settings
from preflight.settings.reading import secret_text

SECRET_VARIABLES = (
    "VOX_MESH_TOKEN",
    "VOX_MESH_WORKER_TOKEN",
    "VOX_MESH_SUBMITTER_TOKEN",
    "VOX_MESH_ADMIN_TOKEN",
    "VOX_MESH_JWT_HMAC_SECRET",
    "VOX_MESH_BOOTSTRAP_TOKEN",
    "VOX_MESH_FEDERATION_SIGNING_KEY",
)
_SECTIONS = ("control", "control_plane", "responder")


def secret_files(settings: Settings) -> dict[str, Path]:
    """The secret files that the settings name, by key, such as `control.token_file`. A certificate is not a secret."""
    return {
        f"{section}.{key}": path
        for section in _SECTIONS
        for key, path in getattr(settings, section)
        if isinstance(path, Path) and key != "ca_file"
    }


def known_secrets(settings: Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Every secret value of this run, used or not, for the pass that takes them out of the report."""
    secrets, enrolment = settings.secrets, settings.enrolment
    bearers = (secrets.token, secrets.submitter_token, enrolment.bootstrap_token if enrolment else None)
    bootstrap = enrolment.bootstrap if enrolment else None
    paths = [*secret_files(settings).values(), *([bootstrap.path] if bootstrap and bootstrap.path else [])]
    texts = (
        *(environ.get(name, "").strip() for name in SECRET_VARIABLES),
        *(file.values.get(name, "") for file in settings.worker_files for name in SECRET_VARIABLES),
        *(line.text for file in settings.worker_files for line in file.unread if line.name in SECRET_VARIABLES),
        *map(secret_text, paths),
    )
    known = (
        *(bearer.get_secret_value() for bearer in bearers if bearer),
        _key_text(secrets.responder_key or b""),
        _key_text(secrets.run_key or b""),
        *texts,
        # What is left of a token when its quotes or its name are taken away: a report may show neither.
        *(read_token(text.encode("utf-8", "surrogateescape"))[0] for text in texts),
        *_stored_tokens(enrolment.credentials_out if enrolment else None),
    )
    return tuple(dict.fromkeys(filter(None, known)))


def _key_text(key: bytes) -> str:
    """A key as text, or in hexadecimal where it is not text; the search then finds every other encoding too."""
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        return key.hex()


def _stored_tokens(credentials: Path | None) -> Iterator[str]:
    """The token that this run may have bought and stored."""
    try:
        # Only a regular file: reading a pipe or a device may never end, and this run writes to neither.
        stored = secret_text(credentials) if credentials and credentials.is_file() else ""
        words = shlex.split(stored, comments=True)
    except (OSError, ValueError):  # another user's file of that name, or a folder
        return
    yield from (word.partition("VOX_MESH_TOKEN=")[2] for word in words)
