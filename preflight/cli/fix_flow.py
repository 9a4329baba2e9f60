"""The flow of `fix` on one screen: measure, show, ask, change, measure again, keep or undo."""

import os
import shlex
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

import click

from preflight.cli.fix_in_lab import refuse_outside
from preflight.cli.report import read_report
from preflight.cli.request import Request
from preflight.cli.session import Session
from preflight.cli.terminal import announced, width_of
from preflight.engine.catalog import load_catalog
from preflight.fixing import making
from preflight.fixing.applier import Plan, planned, run_here
from preflight.fixing.guard import Guard, Undid, guarded, line_of, readable
from preflight.fixing.journal import Journal
from preflight.fixing.record import Record
from preflight.fixing.sessions import carried, sessions, warnings
from preflight.fixing.step import FixError
from preflight.model.printable import printable
from preflight.proto.control.url import without_secrets
from preflight.report.healing import Chosen, Healed, RefusedError, choose, find_again, outcome
from preflight.report.model import EXIT_INTERRUPTED, PeerInfo, Report
from preflight.report.redact import Redactor
from preflight.settings.secrets import known_secrets

EXIT_KEPT, EXIT_AS_BEFORE, EXIT_REFUSED, EXIT_NOT_UNDONE = 0, 1, 2, 4
MEASURING_S = 900.0
"""How long a run after the change may take before the watchdog undoes it."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The options of the command, as `preflight.cli.fix` explains them."""

    cause: int | None = None
    dry_run: bool = False
    yes: bool = False
    confirm_within: float = 60.0
    irreversible: bool = False
    config: Path | None = None
    peers: tuple[str, ...] = ()
    control_url: str | None = None
    quiet: bool = False
    no_color: bool = False


@dataclass(frozen=True, slots=True)
class Measuring:
    """Runs the checks of a report again, as often as it is asked."""

    report: Report
    choices: Choices
    ids: frozenset[str] = field(default_factory=frozenset)

    def run(self) -> Report:
        """What these checks find now, without secrets. Raises click.UsageError for settings that cannot be used."""
        with announced("0 s · loading the checks", quiet=self.choices.quiet):
            session = Session.prepare(self._request(self.choices.peers))
            if not session.settings.peers:  # the file may know more of each than the report
                session = Session.prepare(self._request(tuple(map(_option, self.report.run.peers))))
        measured = session.unredacted().report
        if measured.run.exit_code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
        return Redactor(known_secrets(session.settings, os.environ)).report(measured)

    def _request(self, peers: tuple[str, ...]) -> Request:
        return Request(
            command=("preflight", "run"),
            config=self.choices.config,
            peers=peers,
            control_url=self.choices.control_url,
            trace="--trace" in self.report.run.command,
            quiet=self.choices.quiet,
            no_color=self.choices.no_color,
            named=tuple(sorted({result.check for result in self.report.results} & self.ids)),
        )


def _option(peer: PeerInfo) -> str:
    """A peer of the report as `--peer` takes it."""
    return peer.address if peer.target == peer.address else f"{peer.address}={peer.target}"


def apply_fix(file: Path, choices: Choices) -> int:
    """The whole of `fix REPORT`, and its exit code."""
    report = read_report(file)
    try:
        _refuse_other_node(report)
        old = choose(report, choices.cause)
        measuring = Measuring(report, choices, frozenset(check.id for check in load_catalog().checks))
        before = measuring.run()
        found = find_again(before, old)
        if found is None:
            click.echo(f"{old.cause.code} at {old.cause.target} is not there any more: nothing was changed.")
            return EXIT_KEPT
        _show(found, choices)
        if choices.dry_run:
            click.echo("This was a dry run: nothing was changed.")
            return EXIT_KEPT
        if not choices.yes and not _agreed(found):
            click.echo("Nothing was changed.")
            return EXIT_AS_BEFORE
        return _make(found, before, measuring)
    except RefusedError as error:
        click.echo(str(error), err=True)
        for line in error.lines:
            click.echo(f"    {line}", err=True)
    except FixError as error:
        click.echo(f"Not applied: {error}.", err=True)
    return EXIT_REFUSED


def _refuse_other_node(report: Report) -> None:
    own = socket.gethostname()
    if report.run.node.hostname != own:
        raise RefusedError(f"The report is of {report.run.node.hostname}, and this is {own}: nothing is changed.")


def _show(found: Chosen, choices: Choices) -> None:
    """What would be run, and why. Raises RefusedError, FixError for what is not made."""
    cause, plans = found.cause, [planned(fix) for fix in found.fixes]
    if not any(plan.commands or plan.lines for plan in plans):
        raise RefusedError(f"All that the fix of {cause.code} would do is done already: a person must look.")
    refuse_outside(found.fixes, os.environ)
    if any(fix.needs_root for fix in found.fixes) and os.geteuid() != 0:
        raise RefusedError('This fix needs root: sudo "$(command -v preflight)" fix ...')
    click.echo(f"Cause {found.number}: {cause.code} at {cause.target}")
    indent = " " * 4
    click.echo(click.wrap_text(cause.message, width_of(sys.stdout), initial_indent=indent, subsequent_indent=indent))
    click.echo("This would be run here, to heal it:")
    for plan in plans:
        _show_plan(plan)
    for remedy in cause.remedies:
        if remedy.kind == "fix" and remedy.lasting:
            click.echo(f"It does not outlast a restart; to make it last: {remedy.lasting}")
    for warning in warnings(found.fixes, carried(sessions(), run_here)):
        click.echo(warning)
    if any(not plan.reversible for plan in plans):
        if not choices.irreversible:
            raise RefusedError("Nothing can undo this, so it is made only with --irreversible, or by a person.")
        click.echo("Nothing can undo this.")


def _show_plan(plan: Plan) -> None:
    for command in plan.commands:
        click.echo(f"    {printable(shlex.join(command))}")
    if plan.file is not None:
        click.echo(f"    in {plan.file}:")
        for line in plan.lines:
            click.echo(f"      {printable(without_secrets(line))}")


def _agreed(found: Chosen) -> bool:
    """Whether the user says yes. Raises RefusedError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise RefusedError("There is no terminal to ask at: give --yes to apply it, or --dry-run to see it only.")
    return click.confirm(f"Apply the fix of {found.cause.code} now?", default=False)


def _make(found: Chosen, before: Report, measuring: Measuring) -> int:
    """Change, measure, and keep or undo. Raises FixError if nothing could be changed."""
    with guarded() as guard:
        guard.apply(found.fixes, found.cause.code, found.cause.target, MEASURING_S)
        click.echo("Applied. The checks run again.")
        try:
            healed = outcome(before, measuring.run(), found.cause)
            click.echo(f"{'Healed' if healed.verdict == 'healed' else 'Not healed'}: {healed.why}.")
            if not _keeps(guard, healed, measuring.choices):
                return _told(guard.undo())
            guard.keep(healed.why)
        except FixError as error:
            click.echo(f"{error}.", err=True)
            return EXIT_NOT_UNDONE
        except KeyboardInterrupt:
            _told(guard.undo())
            return EXIT_INTERRUPTED
        except click.ClickException:  # the settings cannot be used any more
            _told(guard.undo())
            raise
    if guard.undone is not None:
        return _told(guard.undone)
    click.echo("Kept. `preflight fix --undo` undoes it.")
    return EXIT_KEPT


def _keeps(guard: Guard, healed: Healed, choices: Choices) -> bool:
    """Whether the change stays. With --yes only if it healed; else the user decides, in time."""
    if healed.verdict in ("still there", "harmful"):
        return False
    if choices.yes:
        return healed.verdict == "healed"
    guard.wait(choices.confirm_within)
    click.echo(f"Keep it? Type y within {choices.confirm_within:.0f} s, or it is undone: ", nl=False)
    ready = readable(guard, sys.stdin.fileno())
    if guard.answers in ready:
        click.echo()
        guard.listen()
        return False
    return line_of(sys.stdin.fileno()).strip().lower() in ("y", "yes")


def _told(undid: Undid) -> int:
    """Say how undoing went, and return the exit code."""
    if not undid.failed and not undid.left:
        click.echo(f"Undone, because {undid.why}: all is as it was before.")
        return EXIT_AS_BEFORE
    _say_left(undid.failed, undid.left)
    return EXIT_NOT_UNDONE


def _say_left(failed: tuple[str, ...], left: tuple[str, ...]) -> None:
    click.echo("Not all is as it was before:", err=True)
    for each in (*failed, *left):
        click.echo(f"    {each}", err=True)


def undo_fix(choices: Choices) -> int:
    """The whole of `fix --undo`, and its exit code."""
    try:
        journal = Journal.of_this_user()
        with journal.locked():
            record = journal.open_record()
            late = record is None
            if record is None:
                record = next(reversed(journal.kept()), None)
            if record is None:
                click.echo("There is no fix to undo.")
                return EXIT_KEPT
            _show_record(record, late=late)
            if choices.dry_run:
                return EXIT_KEPT
            if not choices.yes and not _agreed_to_undo():
                click.echo("Nothing was changed.")
                return EXIT_AS_BEFORE
            undone = making.undo(journal, record, "a person asked for it", late=late)
    except RefusedError as error:
        click.echo(str(error), err=True)
        return EXIT_REFUSED
    except FixError as error:
        click.echo(f"{error}.", err=True)
        return EXIT_REFUSED
    if not undone.complete:
        _say_left(undone.failed, undone.left)
        return EXIT_NOT_UNDONE
    click.echo("Undone: all that it changed is as it was before.")
    return EXIT_KEPT


def _show_record(record: Record, *, late: bool) -> None:
    what = "was kept" if late else "was neither kept nor undone"
    click.echo(f"The fix of {record.code} at {record.target}, of {record.at}, {what}. This undoes it:")
    for each in reversed(record.undos):
        for command in each.undo:
            click.echo(f"    {shlex.join(command)}")
        if each.file is not None:
            click.echo(f"    {each.file} gets the content that it had")
        if each.running is not None:
            click.echo(f"    it is not known whether this was run: {shlex.join(each.running)}")
        if not each.reversible:
            click.echo("    some of it cannot be undone")


def _agreed_to_undo() -> bool:
    if not sys.stdin.isatty():
        raise RefusedError("There is no terminal to ask at: give --yes to undo it, or --dry-run to see it only.")
    return click.confirm("Undo it now?", default=False)
