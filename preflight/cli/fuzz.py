"""`preflight lab fuzz`: random faults on random set-ups, judged and shrunk."""

import json
import secrets
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from preflight.cli.labs import INTERRUPTED, default_jobs, explaining, in_machine, report_folder, scores_only
from preflight.cli.outputs import parse_outputs, write_texts
from preflight.files import Attempts

if TYPE_CHECKING:
    from preflight.cli.outputs import Output
    from preflight.lab.draws import Draw, Wanted
    from preflight.lab.fuzz import Drawn, Shrunk
    from preflight.lab.trial import Trials

DEFAULT_COUNT = 20
_SEEDS = 10_000
"""A seed that nobody chose is short, so that it is easy to write down."""


@click.command()
@click.option("--seed", metavar="N", type=click.IntRange(0), help="The seed that all draws depend on [default: any].")
@click.option("--count", metavar="N", type=click.IntRange(1), help=f"How many draws [default: {DEFAULT_COUNT}].")
@click.option("--minutes", metavar="M", type=click.FloatRange(0, min_open=True), help="Draw for so long, not a count.")
@click.option("--cover", metavar="N", type=click.IntRange(1), help="Each fault on each value of each axis, N times.")
@click.option("--jobs", metavar="N", type=click.IntRange(1), help="Labs in parallel [default: one per 2 CPUs].")
@click.option("--only", "only", metavar="GLOB", multiple=True, help="Only these faults; `healthy`: set-ups without.")
@click.option(
    "--shrink", metavar="N", type=click.IntRange(0), default=3, help="Shrink this many wrong ones [default: 3]."
)
@click.option("--heal", is_flag=True, help="Do what a report says that heals, run again, and undo it all.")
@click.option("--output", "outputs", metavar="FORMAT[=PATH]", multiple=True, help="text or json [default: text].")
@click.option("--vm", is_flag=True, help="In a virtual machine with Debian's kernel, on set-ups that need it too.")
@click.option("--inside-vm", is_flag=True, hidden=True, help="What --vm runs in the machine itself.")
def fuzz(
    seed: int | None,
    count: int | None,
    minutes: float | None,
    cover: int | None,
    jobs: int | None,
    only: tuple[str, ...],
    shrink: int,
    heal: bool,
    outputs: tuple[str, ...],
    vm: bool,
    inside_vm: bool,
) -> None:
    """Draw set-ups and faults, run preflight on each in a fresh lab, and judge what it says.

    A quarter of the draws are healthy. A draw depends on the seed and its number alone. Wrong draws are shrunk to the
    smallest set-up that is still wrong, printed as a scenario file for `preflight lab run`. Exits 0 only if every draw
    is right.
    """
    from preflight.lab.draws import Wanted
    from preflight.lab.trial import Trials

    if sum(each is not None for each in (count, minutes, cover)) > 1:
        raise click.UsageError("one of --count, --minutes and --cover")
    wanted = parse_outputs(outputs)
    scores_only(wanted)
    if vm:
        sys.exit(in_machine(outputs, "--inside-vm"))
    chosen = secrets.randbelow(_SEEDS) if seed is None else seed
    with explaining():
        drawn = _draws(chosen, Wanted(only, inside_vm), count, minutes, cover)
        file = next((output.path for output in wanted if output.format == "json" and output.path), None)
        with report_folder(file, single=False) as folder:
            attempts = Attempts()
            scored = _run(drawn, jobs or default_jobs(), shrink, Trials(folder, attempts, healing=heal))
            with attempts.one():
                _write(chosen, *scored[:2], wanted)
            attempts.settle()
    sys.exit(INTERRUPTED if scored[2] else int(not all(each.outcome.good for each in scored[0])))


def _draws(seed: int, kind: "Wanted", count: int | None, minutes: float | None, times: int | None) -> Iterator["Draw"]:
    from preflight.lab.draws import cover, draw, draws
    from preflight.lab.fuzz import until

    try:
        draw(seed, 0, kind)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if minutes is not None:
        return until(time.monotonic() + minutes * 60, draws(seed, None, kind))
    if times is not None:
        return cover(seed, times, kind)
    return draws(seed, count or DEFAULT_COUNT, kind)


def _run(
    drawn: Iterator["Draw"], jobs: int, shrink: int, trials: "Trials"
) -> tuple[list["Drawn"], list["Shrunk"], bool]:
    from preflight.lab.faultboard import line
    from preflight.lab.fuzz import run_draws, shrink_all, worth_shrinking

    everything, interrupted = run_draws(drawn, jobs, trials, lambda each: click.echo(line(each), err=True))
    wrong = worth_shrinking(everything, 0 if interrupted else shrink)
    shrunk, stopped = shrink_all(wrong, jobs, trials, lambda each: click.echo(f"shrunk: {each.smallest}", err=True))
    return everything, shrunk, interrupted or stopped


def _write(seed: int, everything: list["Drawn"], shrunk: list["Shrunk"], wanted: tuple["Output", ...]) -> None:
    from preflight.lab import faultboard

    render = {
        "json": lambda: f"{json.dumps(faultboard.document(seed, everything, shrunk), indent=2, ensure_ascii=False)}\n",
        "text": lambda: faultboard.text(seed, everything, shrunk),
    }
    write_texts([(output, render[output.format]()) for output in wanted])
