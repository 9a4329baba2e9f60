"""What Nebula's configuration leads to on this machine: the certificates of its `pki`, and the port that it wants."""

import errno
import socket
import tempfile
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from preflight.model.event import Tell
from preflight.overlay.json_types import count, table, text
from preflight.overlay.local import LocalError, parse_json, run

TAKEN = "another program has UDP port"
_BEGINS = "-----BEGIN NEBULA CERTIFICATE"


async def printed(config: Mapping[str, Any], key: str, tell: Tell) -> list[Mapping[str, Any]]:
    """The certificates in the configuration's `pki`, in a file or inline, by `nebula-cert`; none if one is missing."""
    value = text(table(config.get("pki")).get(key))
    if value.startswith("/"):
        return await _printed(value, tell)
    if not value.lstrip().startswith(_BEGINS):  # absent, or a key that was put there by mistake
        return []
    with tempfile.NamedTemporaryFile("w", encoding="ascii", errors="replace") as file:
        file.write(value)
        file.flush()
        return await _printed(file.name, tell)


async def _printed(path: str, tell: Tell) -> list[Mapping[str, Any]]:
    try:
        status, output = await run("nebula-cert", "print", "-json", "-path", path, tell=tell)
        return parse_printed(output) if status == 0 else []
    except LocalError:
        return []


def parse_printed(output: str) -> list[Mapping[str, Any]]:
    """`nebula-cert print -json`: one certificate a line, from version 1.10 a list of them. Raises LocalError."""
    lines = [parse_json(line, "`nebula-cert print -json`") for line in output.splitlines() if line.strip()]
    return [each for line in lines for each in (line if isinstance(line, list) else [line]) if isinstance(each, dict)]


def taken(config: Mapping[str, Any]) -> str | None:
    """That the UDP port of a nebula that does not run is another program's; None if it is free."""
    listen = table(config.get("listen"))
    port, host = count(listen.get("port")), text(listen.get("host")) or "0.0.0.0"  # noqa: S104 - what nebula takes
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return None
    if not port:
        return None
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, port))
        except OSError as error:
            return f"{TAKEN} {port}, its listen.port" if error.errno == errno.EADDRINUSE else None
    return None
