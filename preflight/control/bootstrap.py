"""Make a one-time enrolment token, and explain how to transfer it."""

import re
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from preflight.files import WriteError, create_all

TOKEN_BYTES = 32
LONGEST_TTL_S = 30 * 24 * 3600
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}


class BootstrapError(Exception):
    """A token cannot be made or written; the text says why."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token and its deadline, Unix milliseconds."""

    text: str = field(repr=False)
    expires_unix_ms: int


def new_token(ttl: str) -> NewToken:
    """A token of 256 random bits with the lifetime `ttl`, such as 90s, 15m, 1h or 7d. Raises BootstrapError."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", ttl.strip())
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds <= LONGEST_TTL_S:
        raise BootstrapError(f"--ttl {ttl}: give a duration up to 30d, such as 90s, 15m, 1h or 7d")
    return NewToken(secrets.token_urlsafe(TOKEN_BYTES), time.time_ns() // 1_000_000 + seconds * 1000)


def write(token: NewToken, out: Path | None, env_out: Path | None) -> None:
    """Create the requested files, readable only by their owner; all or none. Raises BootstrapError."""
    asked = ((out, f"{token.text}\n"), (env_out, environment(token)))
    try:
        create_all([(path, text) for path, text in asked if path is not None], mode=0o600)
    except WriteError as error:
        raise BootstrapError(str(error)) from None


def environment(token: NewToken) -> str:
    """The server's two variables, one a line."""
    return f"VOX_MESH_BOOTSTRAP_TOKEN={token.text}\nVOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS={token.expires_unix_ms}\n"


def instructions(token: NewToken, out: Path | None, env_out: Path | None) -> str:
    """Instructions for the operator; does not show the token."""
    until = datetime.fromtimestamp(token.expires_unix_ms / 1000, UTC).isoformat(" ", "seconds")
    lines = [f"One-time token, valid for one exchange until {until}."]
    if env_out is not None:
        lines.append(f"Server (restart it with):  EnvironmentFile={env_out.absolute()}")
    elif out is not None:
        lines += [
            "Server, in its settings file (then restart it):",
            "  control_plane:",
            f"    bootstrap_token_file: {out.absolute()}",
            f"    bootstrap_expires_unix_ms: {token.expires_unix_ms}",
        ]
    else:
        lines += [
            "Server, in its environment (then restart it):",
            "  VOX_MESH_BOOTSTRAP_TOKEN=<the token>",
            f"  VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS={token.expires_unix_ms}",
        ]
    name = out.name if out else "bootstrap-token"
    lines += [
        f"Node, with the token in the file {name} (mode 0600):",
        f"  preflight all --enroll --bootstrap-token-file {name} --credentials-out credentials",
    ]
    return "\n".join(lines)
