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
SUMMARIES = {
    "all": "Every applicable check on this node, then the report.",
    "run": "The named checks and what they need.",
    "list": "The catalogue of checks.",
    "explain": "The page of a finding code, or of a check.",
    "doctor": "What this machine lacks, what that costs, how to get it.",
    "init": "Write a commented preflight.yaml from what is found here.",
    "schema": "JSON Schema of settings, report or timeline.",
    "report": "Convert, compare or join JSON reports.",
    "bundle": "A redacted archive of a report with its evidence.",
    "fix": "Apply a cause's fix here, and undo it unless it heals.",
    "clean": "Remove what a killed run left: joined nodes, labs.",
    "watch": "Repeat the checks and print what changed.",
    "exporter": "A Prometheus endpoint: its targets, measured all the time.",
    "responder": "Answer the probes of peers until SIGTERM or Ctrl-C.",
    "control-plane": "Run the bundled Populi control plane, or make a one-time enrolment token for it.",
    "fleet": "Many nodes at once: measure all ways between them.",
    "lab": "Make overlays on this machine, break them on request, and see whether preflight names the fault.",
}
"""What `--help` says of each, here so that it need not import them all; a test holds it to theirs."""


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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in `--help`, without importing them."""
        widest = formatter.width - 6 - max(map(len, COMMANDS))
        rows = [(name, click.Command(name, help=said).get_short_help_str(widest)) for name, said in SUMMARIES.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

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
