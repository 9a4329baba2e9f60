"""`init`: writes the settings file of this node, from what is found on it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from preflight.initial import Found


@click.command(short_help="Write a commented preflight.yaml from what is found here.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    default=Path("preflight.yaml"),
    show_default=True,
    metavar="FILE",
    help="Where to write; the JSON Schema for editors goes beside it.",
)
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(path: Path, force: bool) -> None:
    """Write a commented settings file from what is found on this node: overlay, peers, control URL.

    It only reads, and sends nothing. Secrets in the environment are named, never written.
    """
    import asyncio
    import json

    from preflight.initial import SCHEMA_FILE, initial_settings
    from preflight.settings import config_schema

    if path.exists() and not force:
        raise click.UsageError(f"{path} is there already; --force overwrites it")
    text = initial_settings(asyncio.run(_found()))
    try:
        path.write_text(text, encoding="utf-8")
        schema = path.absolute().parent / SCHEMA_FILE
        schema.write_text(json.dumps(config_schema(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from None
    click.echo(f"wrote {path} and {SCHEMA_FILE}; next: preflight all --config {path}")


async def _found() -> "Found":
    import socket

    from preflight.cli.session import overlay_peers
    from preflight.initial import Found
    from preflight.overlay.read import read_overlay
    from preflight.settings import (
        CONTROL_URL_VARIABLES,
        SECRET_VARIABLES,
        OverlaySettings,
        Settings,
        SettingsError,
        control_url_of,
    )

    state = await read_overlay(OverlaySettings(), [])
    names = (*CONTROL_URL_VARIABLES, "VOX_MESH_SCOPE_ID", "VOX_MESH_NODE_ID", *SECRET_VARIABLES)
    try:
        url, _ = control_url_of(os.environ)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    return Found(
        hostname=os.environ.get("VOX_MESH_NODE_ID", "").strip() or socket.gethostname(),
        overlay=state,
        peers=overlay_peers(Settings(), state),
        control_url=url.strip() if url else None,
        scope_id=os.environ.get("VOX_MESH_SCOPE_ID", "").strip() or None,
        set_variables=[name for name in names if os.environ.get(name, "").strip()],
    )
