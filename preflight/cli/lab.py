"""`preflight lab`: overlays on this machine, with faults on request."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from preflight.cli.fuzz import fuzz
from preflight.cli.labs import INTERRUPTED, Refused, default_jobs, explaining, in_machine, report_folder, scores_only
from preflight.cli.nearest import NearestGroup
from preflight.cli.outputs import parse_outputs, write_texts
from preflight.cli.terminal import width_of
from preflight.files import Attempts

if TYPE_CHECKING:
    from preflight.cli.outputs import Output
    from preflight.lab.labs import Lab
    from preflight.lab.scenarios import Scenario
    from preflight.lab.score import Outcome
    from preflight.lab.trial import Trials


@click.group("lab", cls=NearestGroup)
def lab() -> None:
    """Make overlays on this machine, break them on request, and see whether preflight names the fault.

    As root it makes real WireGuard tunnels between network namespaces; without root, processes on loopback.
    """


@lab.command()
@click.argument("name", required=False)
@click.option("--topology", metavar="T", help="pair, hub, solo, loopback, fleet-N; follows from NAME, else pair.")
@click.option("--scenario", metavar="S", help="Build it with this fault: a scenario's name or file.")
def up(name: str | None, topology: str | None, scenario: str | None) -> None:
    """Make sure that the lab NAME is up; rebuild it if it is broken.

    fleet-6 is six nodes with sshd and a WireGuard mesh, and an inventory for `preflight fleet`: 2 to 12 nodes, as root.
    """
    with explaining():
        from preflight.lab.labs import take_up

        made, built = take_up(name or scenario or topology or "pair", topology, scenario)
        _explain_kind(made, topology)
        click.echo(f"lab {made.name} is up ({made.state.scenario}, {made.kind}){'' if built else ', as it was before'}")
        measured = f"fleet run --inventory {made.inventory}" if made.is_fleet else f"all --lab {made.name}"
        click.echo(f"try: preflight {measured}")


def _explain_kind(made: "Lab", topology: str | None) -> None:
    from preflight.lab.labs import WITHOUT_ROOT

    if made.kind == "loopback" and "loopback" not in (topology, made.state.scenario):
        click.echo(WITHOUT_ROOT, err=True)


@lab.command()
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="Every lab, and the remains of crashed ones.")
def down(name: str | None, every: bool) -> None:
    """Take the lab NAME down and remove everything that belongs to it."""
    if every == (name is not None):
        raise click.UsageError("name a lab, or say --all")
    with explaining():
        from preflight.lab.labs import all_labs, take_down

        attempts = Attempts()
        for each in all_labs() if name is None else [name]:
            take_down(each)
            with attempts.one():
                click.echo(f"lab {each} is down")
        attempts.settle()


@lab.command()
@click.argument("names", nargs=-1, metavar="NAME...")
@click.option("--all", "every", is_flag=True, help="Every scenario.")
@click.option("--repeat", metavar="N", type=click.IntRange(1), default=1, help="How often to run each.")
@click.option(
    "--jobs", metavar="N", type=click.IntRange(1), help="How many labs to run in parallel [default: one per two CPUs]."
)
@click.option("--heal", is_flag=True, help="Do what a report says that heals, run again, and undo it all.")
@click.option("--output", "outputs", metavar="FORMAT[=PATH]", multiple=True, help="text or json [default: text].")
@click.option("--vm", is_flag=True, help="In a virtual machine with Debian's kernel: on the kernel's WireGuard.")
def run(
    names: tuple[str, ...],
    every: bool,
    repeat: int,
    jobs: int | None,
    heal: bool,
    outputs: tuple[str, ...],
    vm: bool,
) -> None:
    """Run scenarios and compare the diagnosis with the expected one. NAME may be a scenario file, such as
    incident.yaml.

    Each runs in a fresh lab. Exits 0 only if every diagnosis is right and there is no false alarm. Reports go into the
    folder of the JSON file; the report of one scenario that runs once goes into the JSON file itself.

    --heal makes each fix where the report says, runs again, undoes it, and compares the nodes with themselves before;
    then `preflight fix` does the same with that of node a. Exits 1 if a fix harms or leaves anything.
    """
    from preflight.lab.trial import Trials

    if every == bool(names):
        raise click.UsageError("name scenarios (`preflight lab list` shows them), or say --all")
    wanted = parse_outputs(outputs)
    scores_only(wanted)
    if vm:
        sys.exit(in_machine(outputs))
    with explaining():
        scenarios = _chosen(names)
        file = next((output.path for output in wanted if output.format == "json" and output.path), None)
        single = len(scenarios) * repeat == 1
        with report_folder(file, single=single) as reports:
            attempts = Attempts()
            trials = Trials(reports, attempts, healing=heal, fixing=heal)
            outcomes, interrupted = _run_matrix(scenarios, repeat, jobs or default_jobs(), trials)
            with attempts.one():
                write_scores(outcomes, wanted, single=single)
            attempts.settle()
    sys.exit(INTERRUPTED if interrupted else _exit_code(outcomes))


def _exit_code(outcomes: list["Outcome"]) -> int:
    from preflight.lab.score import all_right

    return 0 if all_right(outcomes) else 1


def _chosen(names: tuple[str, ...]) -> list["Scenario"]:
    from preflight.lab.build import kind_of
    from preflight.lab.labs import scenario_for
    from preflight.lab.scenarios import SCENARIOS

    scenarios = [scenario_for(name) for name in names or SCENARIOS]
    for scenario in scenarios:
        kind_of(scenario)  # refuses now what it could not build later
    return scenarios


def _run_matrix(scenarios: list["Scenario"], repeat: int, jobs: int, trials: "Trials") -> tuple[list["Outcome"], bool]:
    from preflight.lab.matrix import repeated, run_all

    def tell(outcome: "Outcome") -> None:
        from preflight.lab.scoreboard import last_events, line

        click.echo(f"{line(outcome)}\n{last_events(outcome)}", nl=False, err=True)

    return run_all(repeated(scenarios, repeat), jobs, trials, tell)


def write_scores(outcomes: list["Outcome"], wanted: tuple["Output", ...], *, single: bool) -> None:
    """Write the scores; for a `single` run they include its report. Raises WriteError when all were tried."""
    from preflight.lab.score import document
    from preflight.lab.scoreboard import table

    scores: dict[str, Any] = document(outcomes)
    for row in scores["scenarios"] if single else ():
        # The path is in a folder that is removed with this command.
        path = row["report"]
        row["report"] = scores["report"] = json.loads(Path(path).read_text(encoding="utf-8")) if path else None
    render = {
        "json": lambda: f"{json.dumps(scores, indent=2, ensure_ascii=False)}\n",
        "text": lambda: table(outcomes, width_of(sys.stdout)),
    }
    write_texts([(output, render[output.format]()) for output in wanted])


@lab.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_labs(as_json: bool) -> None:
    """Show the labs that are up, the scenarios with the expected diagnosis, and faults and set-ups for files."""
    with explaining():
        from preflight.lab.inventory import inventory, inventory_text

        everything = inventory()
    click.echo(json.dumps(everything, indent=2) if as_json else inventory_text(everything), nl=as_json)


@lab.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("name")
@click.argument("node")
@click.argument("command", nargs=-1, required=True, metavar="-- CMD...")
def execute(name: str, node: str, command: tuple[str, ...]) -> None:
    """Run a program in NODE (a, b, c, the router r; n1, n2 and so on of a fleet) of the running lab NAME."""
    with explaining():
        from preflight.lab.labs import running_lab

        found = running_lab(name)
        program = command[1:] if command[0] == "--" else command
        words, environment = found.command_in(node, program), found.environment()
    try:
        os.execvpe(words[0], words, environment)  # noqa: S606 - the program that the user named
    except OSError as error:
        raise Refused(f"{words[0]} cannot be run: {error.strerror}") from None


lab.add_command(fuzz)
