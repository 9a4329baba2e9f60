"""`all` and `run`: load → plan → run → diagnose → report → exit code."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from preflight.cli.catalogue import complete_check
from preflight.cli.outputs import complete_format

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
    click.option(
        "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For the whole run."
    ),
    click.option("--wait", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Repeat what fails."),
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
    click.option("--bootstrap-token-file", type=click.Path(path_type=Path), metavar="FILE", help="With --enroll."),
    click.option(
        "--credentials-out", type=click.Path(path_type=Path), metavar="FILE", help="Where the credential goes."
    ),
    click.option("--lab", metavar="NAME", help="Against an overlay made on this machine: pair, or a lab that is up."),
    click.option(
        "--redact", multiple=True, type=click.Choice(["addresses"]), help="Stand-ins for addresses and names."
    ),
    click.option(
        "--capture",
        is_flag=True,
        help="Keep the packets of failing checks, headers only, in a folder beside the first output file.",
    ),
    click.option(
        "--baseline",
        type=click.Path(path_type=Path),
        metavar="REPORT",
        help="Tell on stderr what changed since this JSON report; exit 1 when something got worse.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress."),
    click.option("-v", "--verbose", is_flag=True, help="Measurements and evidence in the text report."),
    click.option("--no-color", is_flag=True, help="No colours."),
)


def _with_options(command: F) -> F:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for."""

    config: Path | None = None
    peers: tuple[str, ...] = ()
    control_url: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    timeout: float | None = None
    wait: float = 0.0
    outputs: tuple[str, ...] = ()
    fail_on: str = "fail"
    allow_inconclusive: bool = False
    enroll: bool = False
    intrusive: bool = False
    bootstrap_token_file: Path | None = None
    credentials_out: Path | None = None
    lab: str | None = None
    redact: tuple[Literal["addresses"], ...] = ()
    capture: bool = False
    baseline: Path | None = None
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False
    named: tuple[str, ...] = ()


@click.command("all", short_help="Every applicable check on this node, then the report.")
@_with_options
def all_checks(**options: Any) -> None:
    """Run every applicable check on this node and report."""
    sys.exit(_execute(Request(**options)))


@click.command("run", short_help="The named checks and what they need.")
@click.argument("named", nargs=-1, required=True, metavar="ID...", shell_complete=complete_check)
@_with_options
def run_checks(**options: Any) -> None:
    """Run the named checks (globs allowed, as 'mtu.*') and what they need."""
    sys.exit(_execute(Request(**options)))


def _execute(request: Request) -> int:
    if request.lab is not None:
        from preflight.cli.in_lab import run_in_lab

        return run_in_lab(request.lab, sys.argv[1:])
    from preflight.cli.outputs import parse_outputs, write_outputs
    from preflight.cli.report import read_report, tell_changes
    from preflight.cli.session import Session

    outputs = parse_outputs(request.outputs)
    baseline = read_report(request.baseline) if request.baseline else None
    beside = next((output.path.parent for output in outputs if output.path), Path())
    session = Session.prepare(request)
    report = session.run(beside)
    write_outputs(report, outputs, no_color=request.no_color, verbose=request.verbose)
    worse = False
    if baseline is not None:
        worse = tell_changes(session.redactor(session.names(baseline)).report(baseline), report)
    return report.run.exit_code or int(worse)
