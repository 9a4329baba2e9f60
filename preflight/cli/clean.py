"""`preflight clean`: removes what killed runs left behind on control planes and on this machine."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from preflight.proto.control.url import ControlUrl, ControlUrlError

if TYPE_CHECKING:
    from preflight.model.enrolment import LeftBehind
    from preflight.settings.load import Settings

INTERRUPTED = 130


@click.command("clean", short_help="Remove what a killed run left: joined nodes, labs.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings [./preflight.yaml].")
@click.option("--control-url", metavar="URL", help="Control URL; wins over environment and file.")
@click.option("--dry-run", is_flag=True, help="Only list what is left.")
def clean(config: Path | None, control_url: str | None, dry_run: bool) -> None:
    """Remove the nodes that killed runs of this user joined, and the labs that they made.

    Nodes are removed from the control plane of the settings, with the token of the settings, and only if no other node
    uses the id now. Exits 0 when nothing is left, 1 when something is left, 2 on a usage error.
    """
    from preflight.proto.control.left_behind import STILL_THERE, sentence
    from preflight.settings.load import Options, load
    from preflight.settings.reading import SettingsError

    try:
        settings = load(Options(config=config, control_url=control_url))
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    url = settings.control.url
    if isinstance(url, ControlUrlError):
        raise click.UsageError(f"the control URL cannot be used: {url.reason}")
    try:
        rows = asyncio.run(_rows(settings, url, dry_run=dry_run))
        labs = _labs(dry_run=dry_run)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    for left in rows:
        click.echo(sentence(left))
        if left.row is not None and left.fate in STILL_THERE:
            click.echo(f"  to remove it: {left.row.clean_line}")
    for lab in labs:
        click.echo(f"the lab {lab} is {'left' if dry_run else 'down: it was left'} by a killed run")
    if not rows and not labs:
        click.echo("nothing is left of earlier runs")
    still_there = any(left.fate in STILL_THERE for left in rows) or (dry_run and bool(labs))
    sys.exit(int(still_there))


async def _rows(settings: "Settings", url: ControlUrl | None, *, dry_run: bool) -> "list[LeftBehind]":
    """The state of the nodes on this control plane, then those left on others, which need another bearer."""
    from preflight.net import Net
    from preflight.net.control.left_behind import look, take_back

    if dry_run or url is None:
        return look()
    net = Net(settings)
    try:
        here = await take_back(str(url), net.control)
    finally:
        await net.aclose()
    return here + [left for left in look() if left.row is not None and left.row.url != str(url)]


def _labs(*, dry_run: bool) -> list[str]:
    """The labs of killed runs, which are down now."""
    from preflight.lab.labs import labs_left_behind

    return labs_left_behind(remove=not dry_run)
