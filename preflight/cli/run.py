"""`all` and `run`: load → plan → run → diagnose → report → exit code."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from preflight.cli.commandline import Seconds, words
from preflight.cli.lookup import complete_check
from preflight.cli.manual import epilog
from preflight.cli.outputs import (
    Style,
    captures_parent,
    complete_format,
    parse_outputs,
    timeline_path,
    verdict_if_lost,
    write_outputs,
)
from preflight.cli.report import print_changes, read_report
from preflight.cli.request import Request
from preflight.cli.terminal import announced
from preflight.cli.timeline import recording
from preflight.files import Attempts

if TYPE_CHECKING:
    from preflight.report.model import Report

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings [./preflight.yaml]."),
    click.option("--peer", "peers", multiple=True, metavar="ADDRESS[=NAME]", help="A peer (repeatable)."),
    click.option("--control-url", metavar="URL", help="Control URL; wins over environment and file."),
    click.option(
        "--only",
        multiple=True,
        metavar="GLOB",
        shell_complete=complete_check,
        help="Only these checks, and what they need.",
    ),
    click.option("--skip", multiple=True, metavar="GLOB", shell_complete=complete_check, help="Without these checks."),
    click.option("--tag", "tags", multiple=True, metavar="TAG", help="Also the opt-in checks with this tag, as slow."),
    click.option("--timeout", type=Seconds(min_open=True), metavar="SECONDS", help="For the whole run."),
    click.option("--wait", type=Seconds(), default=0.0, metavar="SECONDS", help="Repeat what fails."),
    click.option(
        "--output",
        "outputs",
        multiple=True,
        metavar="FORMAT[=PATH]",
        shell_complete=complete_format,
        help="text, json, junit, markdown, html, openmetrics, sarif (repeatable).",
    ),
    click.option("--fail-on", type=click.Choice(["fail", "warn"]), default="fail", show_default=True),
    click.option("--allow-inconclusive", is_flag=True, help="Exit 0 although something could not be decided."),
    click.option("--enroll", is_flag=True, help="Enrol this node for real, and leave again: writes to the cluster."),
    click.option(
        "--intrusive", is_flag=True, help="Also checks that write to the cluster and clean up: posture.scope."
    ),
    click.option(
        "--trace",
        is_flag=True,
        help="Trace packets in trouble through this node's firewall: adds a table for a second (root).",
    ),
    click.option(
        "--via", type=click.Choice(["ssh"]), help="Start a responder for the run on every peer that your ssh reaches."
    ),
    click.option(
        "--ssh-config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="With --via ssh: another configuration of ssh than yours.",
    ),
    click.option("--bootstrap-token-file", type=click.Path(path_type=Path), metavar="FILE", help="With --enroll."),
    click.option(
        "--credentials-out", type=click.Path(path_type=Path), metavar="FILE", help="Where the credential goes."
    ),
    click.option("--lab", metavar="NAME", help="Against an overlay made on this machine: pair, or a lab that is up."),
    click.option("--inside-lab", metavar="NAME", hidden=True, help="What --lab runs in the lab itself."),
    click.option(
        "--redact", multiple=True, type=click.Choice(["addresses"]), help="Replace addresses and names by pseudonyms."
    ),
    click.option(
        "--capture",
        is_flag=True,
        help="Keep the packets of failing checks, headers only, in a folder next to the first output file.",
    ),
    click.option(
        "--debug",
        type=click.Path(path_type=Path, allow_dash=True),
        metavar="FILE",
        help="Timeline of all that the run does, as JSON lines.",
    ),
    click.option(
        "--baseline",
        type=click.Path(path_type=Path),
        metavar="REPORT",
        help="Print on stderr what changed since this JSON report; exit 1 when something got worse.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
    click.option("-v", "--verbose", is_flag=True, help="Measurements and evidence in the text report."),
    click.option("--summary", is_flag=True, help="Failures only in the text report."),
    click.option("--durations", is_flag=True, help="The slowest checks in the text report."),
    click.option("--no-color", is_flag=True, help="No colours."),
)


def _with_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("all", epilog=epilog("all"), short_help="Every applicable check on this node, then the report.")
@_with_options
def all_checks(**options: Any) -> None:
    """Run every applicable check on this node and report."""
    sys.exit(_execute(Request(**options, command=_command(), alone=_alone())))


@click.command("run", epilog=epilog("run"), short_help="The named checks and what they need.")
@click.argument("named", nargs=-1, required=True, metavar="ID...", shell_complete=complete_check)
@_with_options
def run_checks(**options: Any) -> None:
    """Run the named checks (globs allowed, as 'mtu.*') and what they need."""
    sys.exit(_execute(Request(**options, command=_command(), alone=_alone())))


_FROM_THE_LAB = ("inside_lab", "config", "enroll", "bootstrap_token_file", "credentials_out")
"""Options that `--lab` adds to the command in the lab: their files are removed with it."""


def _command() -> tuple[str, ...]:
    """The words of this command; in a lab those that the user would paste to repeat it."""
    context = click.get_current_context()
    name: str | None = context.params["inside_lab"]
    return words(context) if name is None else (*words(context, without=_FROM_THE_LAB), "--lab", name)


def _alone() -> bool:
    from preflight.cli.main import ALONE

    return bool(click.get_current_context().obj == ALONE)


def _execute(request: Request) -> int:
    if request.lab is not None:
        from preflight.cli.in_lab import run_in_lab

        arguments = words(click.get_current_context(), without=["lab"])[1:]
        return run_in_lab(request.lab, [*arguments, "--inside-lab", request.lab])
    outputs = parse_outputs(request.outputs)
    timeline_file = timeline_path(request.debug, outputs)
    attempts = Attempts()
    with announced("0 s · loading the checks", quiet=request.quiet):
        from preflight.cli.session import Session

        baseline = read_report(request.baseline) if request.baseline else None
        session = Session.prepare(request)
    with recording(timeline_file, session, attempts) as timeline:
        report = session.run(captures_parent(outputs), attempts, timeline)
    worse = False
    if baseline is not None:  # what changed goes before the report, which ends with what to do
        worse = print_changes(session.redactor(session.names(baseline)).report(baseline), report)
    exit_code = _exit_code(report, worse=worse)
    with attempts.one():
        write_outputs(report, outputs, _style(request, exit_code))
    if not any(output.format == "text" and output.path is None for output in outputs):
        for remark in report.remarks:
            click.echo(f"preflight: {remark}", err=True)
    with verdict_if_lost(report, exit_code):
        attempts.settle()
    return exit_code


def _style(request: Request, exit_code: int) -> Style:
    return Style(
        no_color=request.no_color,
        verbose=request.verbose,
        summary=request.summary,
        durations=request.durations,
        exit_code=exit_code,
    )


def _exit_code(report: "Report", *, worse: bool) -> int:
    """The run's exit code, or 1 if something got worse: the contract puts that reason first."""
    from preflight.report.model import EXIT_FAIL, EXIT_INTERRUPTED

    interrupted = report.run.exit_code == EXIT_INTERRUPTED
    return EXIT_FAIL if worse and not interrupted else report.run.exit_code
