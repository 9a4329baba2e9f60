"""`doctor`: what this machine lacks for the checks and the commands, what that costs, and how to get it."""

import sys

import click

from preflight.cli.manual import epilog
from preflight.cli.terminal import colored, width_of


@click.command(epilog=epilog("doctor"), short_help="What this machine lacks, what that costs, how to get it.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--no-color", is_flag=True, help="No colours.")
def doctor(as_json: bool, no_color: bool) -> None:
    """Report which privileges, programs and kernel features are here, and what is not known without the others.

    It only reads: it loads no module, asks no package index, and sends nothing. What the laboratory and single commands
    use is listed too, and does not change the exit code.
    """
    from preflight.engine import machine as judge
    from preflight.engine.catalog import load_catalog
    from preflight.net.machine import look
    from preflight.report import machine as report

    machine = look(*_settings())
    found = judge.needs(machine, load_catalog().checks)
    code, install = judge.exit_code(found), tuple(judge.install_lines(machine, found))
    if as_json:
        click.echo(report.as_json(machine, found, install, code), nl=False)
    else:
        color = colored(sys.stdout, no_color=no_color)
        text = report.as_text(found, install, code, width=max(width_of(sys.stdout), 40), color=color)
        click.echo(text, nl=False, color=True)
    sys.exit(code)


def _settings() -> tuple[int, str]:
    """The port of this node's responder, and why the settings cannot be used, if so."""
    from preflight.model.peer import RESPONDER_PORT
    from preflight.settings.load import Options, load
    from preflight.settings.reading import SettingsError

    try:
        return load(Options(reports_url=True)).responder.port, ""
    except SettingsError as error:
        return RESPONDER_PORT, str(error)
