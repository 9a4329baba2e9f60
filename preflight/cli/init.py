"""`init`: writes the settings file of this node, from what it finds there."""

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from preflight.files import check, create_all, keeps, write
from preflight.proto.control.url import ControlUrlError

if TYPE_CHECKING:
    from preflight.settings.first_file import Found


@click.command(short_help="Write a commented preflight.yaml from what is found here.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    default=Path("preflight.yaml"),
    show_default=True,
    metavar="FILE",
    help="Where to write; the JSON Schema for editors goes into the same folder.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(path: Path, force: bool) -> None:
    """Write a commented settings file from what is found on this node: overlay, peers, control URL.

    It only reads, and sends nothing. Secrets in the environment are named, never written.
    """
    from preflight.settings.first_file import SCHEMA_FILE, initial_settings

    if path.name == SCHEMA_FILE:
        raise click.UsageError(f"{SCHEMA_FILE} is the name of the schema in the same folder; choose another name")
    if os.path.lexists(path) and not force:
        raise click.UsageError(f"{path} already exists; --force overwrites it")
    check(path)
    text = initial_settings(asyncio.run(_found()))
    if not keeps(path):
        write(path, text)
        return
    _put(path, text, path.with_name(SCHEMA_FILE), force=force)
    click.echo(f"wrote {path} and {SCHEMA_FILE}; next: preflight all --config {path}")


def _put(path: Path, text: str, schema: Path, *, force: bool) -> None:
    """Write settings and schema. Without force: both or none, and no existing file is replaced."""
    from preflight.settings.schema import config_schema

    described = json.dumps(config_schema(), indent=2) + "\n"
    if force:
        write(path, text)
        write(schema, described)
    elif _holds(schema, described):
        create_all([(path, text)])
    else:
        create_all([(path, text), (schema, described)])


def _holds(path: Path, text: str) -> bool:
    try:
        return path.is_file() and path.read_bytes() == text.encode()
    except OSError:
        return False


async def _found() -> "Found":
    import socket

    from preflight.overlay.read import read_overlay
    from preflight.settings.first_file import Found
    from preflight.settings.load import CONTROL_URL_VARIABLES, control_url_of
    from preflight.settings.peers import overlay_peers
    from preflight.settings.schema import OverlaySettings
    from preflight.settings.secrets import SECRET_VARIABLES

    state = await read_overlay(OverlaySettings(), [])
    names = (*CONTROL_URL_VARIABLES, "VOX_MESH_SCOPE_ID", "VOX_MESH_NODE_ID", *SECRET_VARIABLES)
    url, name = control_url_of(os.environ)
    if isinstance(url, ControlUrlError) and url.fault == "secret":
        raise click.UsageError(f"{name}: the control URL cannot be used: {url.reason}")
    return Found(
        hostname=os.environ.get("VOX_MESH_NODE_ID", "").strip() or socket.gethostname(),
        overlay=state,
        peers=overlay_peers((), state),
        control_url=str(url) if url else None,
        scope_id=os.environ.get("VOX_MESH_SCOPE_ID", "").strip() or None,
        set_variables=[name for name in names if os.environ.get(name, "").strip()],
    )
