"""`preflight watch`: repeat the checks and print an entry for each change; on request, stay joined meanwhile."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import node
from typing import TYPE_CHECKING, Literal

import click

from preflight.cli.commandline import Seconds, words
from preflight.cli.ending import interruption, run_to_end
from preflight.cli.lookup import complete_check
from preflight.cli.manual import epilog
from preflight.cli.outputs import verdict_if_lost
from preflight.cli.request import Request
from preflight.model.printable import number_of, one_line

if TYPE_CHECKING:
    from preflight.cli.session import Session
    from preflight.proto.control.membership import News
    from preflight.report.entries import Entry
    from preflight.report.model import Report
    from preflight.report.redact import Redactor

INTERRUPTED = 130
DEFAULT_HEARTBEAT_S = 30


@dataclass(frozen=True, slots=True)
class Schedule:
    """interval_s: from the start of one round to the start of the next. count, for_s: when to end; None: never.

    alive_s: after this time without a line there is one that it is still running; 0: never.
    """

    interval_s: float
    count: int | None
    for_s: float | None
    alive_s: float = 0.0

    def over(self, rounds: int, elapsed_s: float) -> bool:
        """Whether this was the last round."""
        too_many = self.count is not None and rounds >= self.count
        return too_many or (self.for_s is not None and elapsed_s + self.interval_s > self.for_s)

    def silent_too_long(self, since_s: float) -> bool:
        """Whether it is time for a line that it is still running."""
        return 0 < self.alive_s <= since_s


@click.command("watch", epilog=epilog("watch"), short_help="Repeat the checks and print what changed.")
@click.argument("named", nargs=-1, metavar="[ID...]", shell_complete=complete_check)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings [./preflight.yaml].")
@click.option("--peer", "peers", multiple=True, metavar="ADDRESS[=NAME]", help="A peer (repeatable).")
@click.option("--control-url", metavar="URL", help="Control URL; wins over environment and file.")
@click.option("--skip", multiple=True, metavar="GLOB", shell_complete=complete_check, help="Without these checks.")
@click.option("--interval", type=Seconds(1), default=30.0, show_default=True, metavar="SECONDS")
@click.option("--count", type=click.IntRange(min=1), metavar="ROUNDS", help="Stop after this many rounds.")
@click.option("--for", "for_s", type=Seconds(min_open=True), metavar="SECONDS", help="Stop after this time.")
@click.option(
    "--heartbeat",
    is_flag=True,
    help="Keep this node joined meanwhile, like a worker, and leave at the end: writes to the cluster. "
    f"Every VOX_MESH_HTTP_HEARTBEAT_SECS [{DEFAULT_HEARTBEAT_S}]; 0 joins only.",
)
@click.option(
    "--exec",
    "command",
    metavar="CMD",
    help="Run this for each entry, without a shell; PREFLIGHT_CHANGE_TREND, _CODE, _TARGET, _DIRECTION, _TEXT and "
    "_ADVICE are in its environment.",
)
@click.option(
    "--alive",
    type=Seconds(),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="A line after this time without one; 0: never.",
)
@click.option("--fail-on", type=click.Choice(["fail", "warn"]), default="fail", show_default=True)
@click.option("--allow-inconclusive", is_flag=True, help="Exit 0 although something could not be decided.")
@click.option(
    "--redact", multiple=True, type=click.Choice(["addresses"]), help="Replace addresses and names by pseudonyms."
)
def watch(
    named: tuple[str, ...],
    interval: float,
    count: int | None,
    for_s: float | None,
    command: str | None,
    alive: float,
    *,
    heartbeat: bool,
    redact: tuple[Literal["addresses"], ...],
    **options: object,
) -> None:
    """Run the named checks, or all, every --interval and print an entry for each change, until Ctrl-C or SIGTERM.

    An entry is a cause that came or went, with what to do; what it explains has none. The first round prints what is
    wrong now. The exit code is the last round's, 130 after Ctrl-C or SIGTERM.
    """
    from preflight.cli.notify import command_of
    from preflight.cli.session import Session

    notified = command_of(command)
    request = Request(command=words(click.get_current_context()), named=named, redact=redact, quiet=True, **options)  # type: ignore[arg-type]
    session = Session.prepare(request)
    if heartbeat and session.settings.control.usable_url is None:
        raise click.UsageError("--heartbeat needs a usable control URL: --control-url, or control.url in the settings")
    sys.exit(run_to_end(_watch(session, Schedule(interval, count, for_s, alive), notified, heartbeat=heartbeat)))


async def _watch(session: "Session", schedule: Schedule, notified: tuple[str, ...], *, heartbeat: bool) -> int:
    from preflight.report.entries import entries

    stop = interruption()
    loop = asyncio.get_running_loop()
    redactor = _redactor(session)
    start, rounds, before = loop.time(), 0, None
    said = start
    async with _member(session, redactor) if heartbeat else _nobody():
        while not stop.is_set():
            began = loop.time()
            measured = await session.measured(lambda event: None, stop)
            if stop.is_set():
                break  # what an interrupted round did not measure is not a change
            redactor.know(measured.names)
            report = redactor.report(measured.report)
            changed = entries(before, report, sudo=os.geteuid() != 0)
            shown = list(lines(report, changed, first=before is None))
            before, rounds = report, rounds + 1
            if not shown and schedule.silent_too_long(loop.time() - said):
                shown = [f"alive   {_state(report)}, {number_of('rounds', rounds)} so far"]
            said = loop.time() if shown else said
            with verdict_if_lost(report, report.run.exit_code):
                for line in shown:
                    _say(line)
            await _notify(notified, changed)
            if schedule.over(rounds, loop.time() - start):
                return report.run.exit_code
            await _wait(stop, began + schedule.interval_s - loop.time())
    return INTERRUPTED


def lines(report: "Report", changed: "Iterable[Entry]", *, first: bool) -> Iterator[str]:
    """What to print about a round: each entry, and below it what to do. first: the state goes before them."""
    if first:
        yield f"now     {_state(report)}"
        yield from (f"now     {remark}" for remark in report.remarks)
    for entry in changed:
        yield f"{entry.trend:<7} {entry.text}"
        yield from (f"        {line}" for line in entry.more)


def _state(report: "Report") -> str:
    results, causes = number_of("results", len(report.results)), number_of("causes", len(report.diagnosis))
    return f"{report.verdict}: {results}, {causes}"


async def _notify(command: tuple[str, ...], changed: "Iterable[Entry]") -> None:
    """Run the user's command for each entry, one after the other; what fails is said and ends nothing."""
    from preflight.cli.notify import notify

    for entry in changed if command else ():
        if complaint := await notify(command, entry):
            click.echo(f"preflight watch: --exec: {one_line(complaint)}", err=True)


def _redactor(session: "Session") -> "Redactor":
    """One for all rounds: a pseudonym with a new meaning would look like a change."""

    settings = session.settings
    return session.redactor((node(), *(peer.name for peer in settings.peers), *settings.control.hosts))


@asynccontextmanager
async def _member(session: "Session", redactor: "Redactor") -> AsyncIterator[None]:
    """This node is a member during the body, and leaves after it."""
    from preflight.net import Net
    from preflight.net.control.membership import Member

    def tell(news: "News") -> None:
        _say(f"member  {redactor.text(news.text)}")

    where = redactor.text(str(session.settings.control.url))
    _say(f"member  writes to the cluster at {where}: joins, sends heartbeats, and leaves at the end")
    net = Net(session.settings)
    member = Member(session.settings, net.control, heartbeat_s(os.environ.get), tell)
    done = asyncio.Event()
    staying = asyncio.create_task(member.stay(done))
    try:
        yield
    finally:
        done.set()
        await staying
        await net.aclose()


@asynccontextmanager
async def _nobody() -> AsyncIterator[None]:
    yield


def heartbeat_s(variable: Callable[[str], str | None]) -> float:
    """Seconds between heartbeats, from the variable that this node's workers read."""
    raw = (variable("VOX_MESH_HTTP_HEARTBEAT_SECS") or "").strip()
    return float(raw) if raw.isascii() and raw.isdecimal() else DEFAULT_HEARTBEAT_S


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await stop.wait()
    except TimeoutError:
        pass


def _say(line: str) -> None:
    click.echo(f"{datetime.now(UTC):%H:%M:%S}Z {one_line(line)}")
