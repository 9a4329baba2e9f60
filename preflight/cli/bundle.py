"""`bundle`: a report with its evidence, redacted, as one file for a ticket."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from preflight.cli.commandline import words
from preflight.cli.outputs import verdict_if_lost
from preflight.cli.report import read_report
from preflight.cli.request import Request
from preflight.files import beginning, check, keeps, write
from preflight.model.printable import one_line

if TYPE_CHECKING:
    from preflight.cli.session import Session
    from preflight.report.model import Report
    from preflight.report.timeline import Recorded

ELSEWHERE = """This report is about a lab, so what this machine's own network shows would be about another one.
While the lab is up, its node shows its state: preflight lab exec NAME a -- preflight bundle REPORT
"""
LARGEST_FILE = 1 << 20
"""Bytes of a settings file that are packed."""


@click.command(short_help="A redacted archive of a report with its evidence.")
@click.argument("file", required=False, metavar="[REPORT]", type=click.Path(path_type=Path))
@click.option("--output", "-o", "path", type=click.Path(path_type=Path), metavar="FILE", help="[preflight-RUN.tar.gz]")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings [./preflight.yaml].")
@click.option("--peer", "peers", multiple=True, metavar="ADDRESS[=NAME]", help="A peer (repeatable).")
@click.option("--control-url", metavar="URL", help="Control URL; wins over environment and file.")
@click.option(
    "--redact", multiple=True, type=click.Choice(["addresses"]), help="Replace addresses and names by pseudonyms."
)
@click.option("--capture", is_flag=True, help="Include the packets of failing checks, headers only.")
@click.option(
    "--timeline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The timeline that the run of REPORT wrote with --debug; a new run records its own.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def bundle(file: Path | None, path: Path | None, timeline: Path | None, **options: Any) -> None:
    """Pack the JSON report REPORT, or that of a run made now, with the output of this node's network tools.

    REPORT must be as it was written, without pseudonyms. Everything is redacted; MANIFEST.json lists the SHA-256 of
    each file and what was removed from it. This command only reads.
    """
    from preflight.cli.session import Session
    from preflight.evidence.bundle import make_bundle
    from preflight.evidence.collect import Raw, collect, counters
    from preflight.evidence.kept import Kept, kept
    from preflight.evidence.timeline import Held
    from preflight.report.model import EXIT_PASS

    recorded = _read_timeline(timeline, file)
    session = Session.prepare(Request(**options, command=words(click.get_current_context())))
    if path is not None:
        check(path)
    before = counters("before") if file is None else []
    if file is None:
        held = Held()
        report, names, captures = session.unredacted(held)
        captured, recorded = Kept(captures, {}), held.recorded()
    else:
        report = read_report(file)
        names, captured = session.names(report), kept(report, file.parent)
    found = [*collect(), *before, *counters("after")] if is_here(report) else [Raw("not-collected.txt", ELSEWHERE)]
    raw = [*found, *(Raw("preflight.yaml", text) for text in _settings(session))]
    target = path or Path(f"preflight-{report.run.id}.tar.gz")
    addresses = "addresses" in session.settings.report.redact
    redactor = session.redactor(names)
    packed = make_bundle(report, raw, redactor, captured, addresses=addresses, timeline=recorded)
    # The findings of this run appear nowhere else: this command exits 0 whatever they are.
    with verdict_if_lost(redactor.report(report), EXIT_PASS) if file is None else nullcontext():
        write(target, packed)
    click.echo(f"wrote {target}; read it before you send it", err=not keeps(target))


def is_here(report: "Report") -> bool:
    """Whether this network is the one that the report is about: that of a lab is in namespaces, which end with it."""
    import socket

    overlay = report.run.overlay
    if report.run.lab is None:
        return True
    return overlay is not None and overlay.interface in {name for _, name in socket.if_nameindex()}


def _settings(session: "Session") -> list[str]:
    """The settings file, which names files of secrets and holds none; nothing without one."""
    source = session.settings.source
    if source is None:
        return []
    try:
        return [beginning(source, LARGEST_FILE).decode("utf-8", "replace")]
    except OSError:
        return []


def _read_timeline(path: Path | None, report: Path | None) -> "Recorded | None":
    """The timeline of an earlier run. Raises click.UsageError."""
    from preflight.report.timeline import LARGEST_BYTES, parse

    if path is None:
        return None
    if report is None:
        raise click.UsageError("--timeline goes with a REPORT: a run made now is recorded anyway")
    try:
        return parse(beginning(path, LARGEST_BYTES + 1))
    except OSError as error:
        raise click.UsageError(f"--timeline {one_line(str(path))}: {error.strerror}") from None
    except ValueError as error:
        raise click.UsageError(f"--timeline {one_line(str(path))} is not a timeline of preflight: {error}") from None
