"""`bundle`: a report with its evidence, redacted, as one file for a ticket."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from preflight.cli.commandline import words

if TYPE_CHECKING:
    from preflight.cli.session import Measured, Session
    from preflight.report.model import Report


@click.command(short_help="A redacted archive of a report with its evidence.")
@click.argument("file", required=False, metavar="[REPORT]", type=click.Path(path_type=Path))
@click.option("--output", "-o", "path", type=click.Path(path_type=Path), metavar="FILE", help="[preflight-RUN.tar.gz]")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings [./preflight.yaml].")
@click.option("--peer", "peers", multiple=True, metavar="ADDRESS[=NAME]", help="A peer (repeatable).")
@click.option("--control-url", metavar="URL", help="Control URL; wins over environment and file.")
@click.option("--redact", multiple=True, type=click.Choice(["addresses"]), help="Stand-ins for addresses and names.")
@click.option("--capture", is_flag=True, help="With the packets of failing checks, headers only.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def bundle(file: Path | None, path: Path | None, **options: Any) -> None:
    """Pack the JSON report REPORT, or that of a run made now, with what this node's own tools say of its network.

    Give a REPORT as it was written, without stand-ins. Everything is redacted; MANIFEST.json holds SHA-256 of each
    file and tells what was taken out where. It only reads.
    """
    from preflight.cli.outputs import verdict_told
    from preflight.cli.report import read_report
    from preflight.cli.run import Request
    from preflight.cli.session import Session
    from preflight.evidence.bundle import make_bundle
    from preflight.evidence.collect import collect, counters
    from preflight.files import check, keeps, write

    session = Session.prepare(Request(**options, command=words(click.get_current_context())))
    if path is not None:
        check(path)
    before = counters("before") if file is None else []
    measured = session.unredacted() if file is None else _given(session, read_report(file))
    report = measured.report
    raw = [*collect(), *before, *counters("after")]
    target = path or Path(f"preflight-{report.run.id}.tar.gz")
    addresses = "addresses" in session.settings.report.redact
    packets = dict(measured.captures.values())
    redactor = session.redactor(measured.names)
    packed = make_bundle(report, raw, redactor, packets, addresses=addresses)
    with verdict_told(redactor.report(report), report.run.exit_code):
        write(target, packed)
    click.echo(f"wrote {target}; look into it before you send it", err=not keeps(target))


def _given(session: "Session", report: "Report") -> "Measured":
    """A report that was written before, with the captures that it names, as far as they are still there."""
    from preflight.cli.session import Measured

    paths = {r.id: Path(e.path) for r in report.results for e in r.evidence if e.path and e.path.endswith(".pcap")}
    captures = {id: (path.name, path.read_bytes()) for id, path in paths.items() if path.is_file()}
    return Measured(report, session.names(report), captures)
