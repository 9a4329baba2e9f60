"""`fix`: apply what heals a cause of a report on this node, and undo it unless it healed and is confirmed in time."""

import sys
from pathlib import Path
from typing import Any

import click

from preflight.cli.commandline import Seconds, words
from preflight.cli.manual import epilog


@click.command("fix", epilog=epilog("fix"), short_help="Apply a cause's fix here, and undo it unless it heals.")
@click.argument("report", required=False, type=click.Path(path_type=Path))
@click.option("--cause", type=click.IntRange(min=1), metavar="N", help="Which cause [the first with a fix for here].")
@click.option("--dry-run", is_flag=True, help="Only show what would be run, and why.")
@click.option("--yes", is_flag=True, help="Ask nothing: the run after the fix decides whether it is kept.")
@click.option(
    "--confirm-within",
    type=Seconds(min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Undo it unless you confirm it in this time.",
)
@click.option("--irreversible", is_flag=True, help="Also apply what nothing can undo.")
@click.option("--undo", is_flag=True, help="Undo the last fix that was kept, or one whose command and watchdog died.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings [./preflight.yaml].")
@click.option("--peer", "peers", multiple=True, metavar="ADDRESS[=NAME]", help="A peer [those of the report].")
@click.option("--control-url", metavar="URL", help="Control URL; wins over environment and file.")
@click.option("--lab", metavar="NAME", help="On node a of a lab on this machine, as a rehearsal.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("--no-color", is_flag=True, help="No colours.")
def fix(report: Path | None, undo: bool, lab: str | None, **options: Any) -> None:
    """Apply what heals a cause of the JSON report REPORT, on this node only.

    The checks of the report run first: the cause must still be there, with the same fix. Then you see what would be
    run. After the change the checks run again; it is undone unless it healed and you confirm it in time, also if this
    command is killed or your SSH session is cut. Text of the report is never run.
    """
    if undo == (report is not None):
        raise click.UsageError("give a REPORT in JSON, or --undo")
    if lab is not None:
        from preflight.cli.fix_in_lab import fix_in_lab

        sys.exit(fix_in_lab(lab, words(click.get_current_context(), without=["lab"])[1:]))
    from preflight.cli.fix_flow import Choices, apply_fix, undo_fix

    choices = Choices(**options)
    sys.exit(undo_fix(choices) if report is None else apply_fix(report, choices))
