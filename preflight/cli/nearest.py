"""A group of commands that answers a word it does not know with the nearest one, and takes `help` as a command."""

from difflib import get_close_matches

import click

HELP = "help"


class NearestGroup(click.Group):
    """The group; click's own says only that there is no such command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was typed, or a usage error with the nearest one. `help` is `--help`."""
        if args and args[0] == HELP and not ctx.resilient_parsing:
            if len(args) == 1:
                click.echo(ctx.get_help())
                ctx.exit()
            return self.resolve_command(ctx, [*args[1:], "--help"])
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = get_close_matches(args[0], [*known, HELP], n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else f" (`{ctx.command_path} --help` lists them)"
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)
