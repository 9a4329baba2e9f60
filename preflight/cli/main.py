"""The program: one click group that imports its commands when they are used."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from preflight import __version__

if TYPE_CHECKING:
    import click

EXIT_UNWRITTEN = 2
EXIT_INTERRUPTED = 130

COMMANDS = {
    "all": "preflight.cli.run:all_checks",
    "run": "preflight.cli.run:run_checks",
    "list": "preflight.cli.lookup:list_checks",
    "explain": "preflight.cli.lookup:explain",
    "init": "preflight.cli.init:init",
    "schema": "preflight.cli.lookup:schema",
    "report": "preflight.cli.report:report",
    "bundle": "preflight.cli.bundle:bundle",
    "clean": "preflight.cli.clean:clean",
    "watch": "preflight.cli.watch:watch",
    "exporter": "preflight.cli.exporter:exporter",
    "responder": "preflight.cli.responder:responder",
    "control-plane": "preflight.cli.control_plane:control_plane",
    "lab": "preflight.cli.lab:lab",
}


def build() -> "click.Group":
    """The command group. click is imported here, so that `--version` need not wait for it."""
    import click

    class Lazy(click.Group):
        def list_commands(self, ctx: click.Context) -> list[str]:
            return list(COMMANDS)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            if cmd_name not in COMMANDS:
                return None
            module, _, name = COMMANDS[cmd_name].partition(":")
            command: click.Command = getattr(import_module(module), name)
            return command

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            from difflib import get_close_matches

            if args and args[0] not in COMMANDS and not args[0].startswith("-"):
                near = get_close_matches(args[0], COMMANDS, n=1, cutoff=0.4)
                hint = f"; did you mean {near[0]!r}?" if near else " (`preflight --help` lists them)"
                raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
            return super().resolve_command(ctx, args)

        def invoke(self, ctx: click.Context) -> object:
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                sys.exit(EXIT_INTERRUPTED)
            except click.UsageError as error:
                # The quoted text may be a URL with a misplaced password, or contain control characters.
                from preflight.model.printable import printable
                from preflight.proto.control.url import without_secrets

                said = error.format_message()
                shown = printable(without_secrets(said))
                if shown == said:
                    raise
                raise click.UsageError(shown, error.ctx) from None

    return Lazy(
        name="preflight",
        help="Finds out what is wrong with an overlay network, by direction, and how to fix it.",
        params=[
            click.Option(["--version"], is_flag=True, expose_value=False, help="Print the version."),
        ],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def main() -> None:
    """Entry point of the program: a failed write ends it with one sentence and exit code 2."""
    from preflight.cli.ending import leaving_threads_behind

    with leaving_threads_behind():
        sys.exit(_guarded())


def _guarded() -> str | int | None:
    """Run the command; its exit code, or 2 if its output was lost."""
    from preflight.cli.streams import guard
    from preflight.files import WriteError

    stdout = guard()
    code: str | int | None = None
    lost: WriteError | None = None
    try:
        _run()
    except WriteError as error:
        lost = error
    except SystemExit as end:
        code = end.code
    # Ask the stream too: a library or a plugin that prints may have caught the error.
    lost = lost or stdout.finished()
    if lost is not None:
        sys.stderr.write(f"preflight: {lost}\n")
        code = EXIT_UNWRITTEN
    return code


def _run() -> None:
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"preflight {__version__}\n")
        return
    build().main(prog_name="preflight")
