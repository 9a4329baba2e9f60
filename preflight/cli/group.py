"""The command group: each command is imported when it is used."""

import sys
from importlib import import_module

import click

from preflight.cli.nearest import NearestGroup
from preflight.model.printable import printable
from preflight.proto.control.url import without_secrets

EXIT_INTERRUPTED = 130

COMMANDS = {
    "all": "preflight.cli.run:all_checks",
    "run": "preflight.cli.run:run_checks",
    "list": "preflight.cli.lookup:list_checks",
    "explain": "preflight.cli.lookup:explain",
    "doctor": "preflight.cli.doctor:doctor",
    "init": "preflight.cli.init:init",
    "schema": "preflight.cli.lookup:schema",
    "report": "preflight.cli.report:report",
    "bundle": "preflight.cli.bundle:bundle",
    "fix": "preflight.cli.fix:fix",
    "clean": "preflight.cli.clean:clean",
    "watch": "preflight.cli.watch:watch",
    "exporter": "preflight.cli.exporter:exporter",
    "responder": "preflight.cli.responder:responder",
    "control-plane": "preflight.cli.control_plane:control_plane",
    "fleet": "preflight.cli.fleet:fleet",
    "lab": "preflight.cli.lab:lab",
}


class LazyGroup(NearestGroup):
    """The group of `COMMANDS`; what its errors quote is shown without secrets."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of `--help`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)
        except click.UsageError as error:
            raise _shown_safely(error) from None


def group() -> LazyGroup:
    """The program's commands and the options of all of them."""
    return LazyGroup(
        name="preflight",
        help="Finds out what is wrong with an overlay network, by direction, and how to fix it.",
        params=[click.Option(["--version"], is_flag=True, expose_value=False, help="Print the version.")],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def _shown_safely(error: click.UsageError) -> click.UsageError:
    """The same error with safe quotations: a misplaced URL may hold a password, and a text may move the cursor."""
    said = error.format_message()
    shown = printable(without_secrets(said))
    return error if shown == said else click.UsageError(shown, error.ctx)
