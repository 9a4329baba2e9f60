"""`preflight fleet`: all ways between many nodes, by one command."""

import json
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from preflight.cli.labs import INTERRUPTED, Refused
from preflight.cli.nearest import NearestGroup
from preflight.cli.outputs import parse_outputs, write_texts
from preflight.cli.report import EXIT_WORSE, MATRIX_FORMATS, read_report, write_matrix
from preflight.model.printable import one_line

if TYPE_CHECKING:
    from preflight.fleet.engine import Access, Engine
    from preflight.fleet.hosts import Host
    from preflight.fleet.outcome import Step
    from preflight.fleet.run import Found
    from preflight.fleet.schedule import Pairs
    from preflight.report.matrix import Matrix
    from preflight.report.model import Report

F = TypeVar("F", bound=Callable[..., Any])
EXIT_HOLES = 3
_FEWEST = 2
_DONE = {
    "reach": "reached",
    "deliver": "delivered",
    "ready": "responder started",
    "go": "has its schedule",
    "collect": "measured",
    "clean": "clean",
}
"""What to print when a task has ended on a node."""
_BECOME = r"BECOME password.*:\s*$"
_ACCESS = (
    click.option(
        "--inventory", "-i", required=True, metavar="INVENTORY", help="Ansible's: a file, folder, script, or `host,`."
    ),
    click.option("--limit", metavar="PATTERN", help="Only these hosts, in Ansible's pattern language."),
    click.option("--vault-password-file", metavar="FILE", help="For an inventory with encrypted variables."),
)
_PAIRS = (
    click.option(
        "--pairs", default="all", show_default=True, metavar="all|sample:K|from:NODE", help="Which pairs are measured."
    ),
    click.option("--seed", default=0, metavar="N", help="Chooses the rounds of sample:K."),
)
_ASKING = (
    click.option(
        "--ask-become-pass", "-K", is_flag=True, help="Ask for the password that Ansible needs to become root."
    ),
)


def _with(*groups: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate


def _maybe(group: tuple[Callable[[F], F], ...]) -> tuple[Callable[[F], F], ...]:
    """The options of access where an inventory need not be given."""
    return (click.option("--inventory", "-i", metavar="INVENTORY", help="Ansible's, as for `run`."), *group[1:])


@click.group("fleet", cls=NearestGroup, short_help="Many nodes at once: measure all ways between them.")
def fleet() -> None:
    """Measure the ways between the nodes of an Ansible inventory, and join what they saw into one matrix.

    Host variables: overlay_address (asked of the node if it is not set), overlay_site (nodes that share an uplink) and
    preflight_port (UDP port of the responder of a run).
    """


@fleet.command("run", short_help="Measure, collect and join; then clean.")
@_with(_ACCESS, _PAIRS, _ASKING)
@click.option("--output", "-o", "outputs", multiple=True, metavar="FORMAT[=PATH]", help="text, html or json.")
@click.option("--require-all", is_flag=True, help="A node without a report, or an undecided way, is a failure too.")
@click.option("--keep", is_flag=True, help="Leave the program on the nodes, so that the next run starts sooner.")
def run(outputs: tuple[str, ...], require_all: bool, keep: bool, pairs: str, seed: int, **access: Any) -> None:
    """Measure all ways between the nodes.

    Each node gets this program with its dependencies into one folder, a new key for this run, and a responder that ends
    by itself. In each round a node measures or is measured once, and a site's uplink carries one pair. What was not
    good is measured again, for longer. Nothing is left on the nodes, also after Ctrl-C.

    Exit code 0 if all is good, 1 if a direction or a node failed, 3 if a node gave no report or a way is undecided.
    """
    from preflight.fleet.run import CancelledError, FleetRun, Wish

    wanted, wish = parse_outputs(outputs, formats=MATRIX_FORMATS), Wish(_pairs(pairs), seed=seed, keep=keep)
    with _cancellable() as cancelled, _explaining(cancelled), _engine(_access(**access), cancelled) as engine:
        hosts = _hosts(engine)
        _checked(hosts, wish.pairs)
        try:
            found = FleetRun(engine, hosts, wish, cancelled, _tell, _say).run()
        except CancelledError:
            sys.exit(INTERRUPTED)
    matrix = joined(found)
    write_matrix(matrix, wanted)
    for hole in found.litter:
        click.echo(f"preflight fleet: {hole.node} is not clean: {hole.message}", err=True)
    sys.exit(exit_code(matrix, require_all=require_all, missed=bool(found.missed)))


@fleet.command("plan", short_help="Who would measure whom, when, and for how long.")
@_with(_ACCESS, _PAIRS)
def plan(pairs: str, seed: int, **access: Any) -> None:
    """Print the rounds of a run, how long it takes and what it sends. Runs nothing on any node."""
    from preflight.fleet.plan import plan_text

    wanted = _pairs(pairs)
    with _explaining(), _engine(_access(**access), lambda: False) as engine:
        hosts = _hosts(engine)
        _checked(hosts, wanted)
        click.echo(plan_text(hosts, wanted, seed), nl=False)


@fleet.command("lint", short_help="Compare the nodes' tunnels with one another.")
@click.argument("reports", nargs=-1, metavar="[REPORT...]", type=click.Path(path_type=Path))
@_with(_maybe(_ACCESS), _ASKING)
@click.option("--output", "-o", "outputs", multiple=True, metavar="FORMAT[=PATH]", help="text or json.")
def lint(reports: tuple[Path, ...], outputs: tuple[str, ...], inventory: str | None, **access: Any) -> None:
    """Compare the configurations of the nodes' tunnels: what no packet finds.

    Either over JSON reports of earlier runs of `fleet`, one of each node, or over the nodes of an inventory, which are
    asked now. It sends nothing between nodes. Exit code 1 if they disagree, 3 if a node could not be asked.
    """
    from preflight.fleet.lint import lint as compare
    from preflight.fleet.lint import lint_text

    if bool(reports) == (inventory is not None):
        raise click.UsageError("give reports, or --inventory")
    wanted = parse_outputs(outputs, formats=("text", "json"))
    known = {report.run.node.hostname: report for report in map(read_report, reports)}
    sites: dict[str, str] = {}
    holes: list[str] = []
    if inventory is not None:
        known, sites, holes = _asked(inventory=inventory, **access)
    findings = compare(known, sites)
    render = {
        "text": lambda: lint_text(findings, len(known)),
        "json": lambda: json.dumps([asdict(finding) for finding in findings], indent=2) + "\n",
    }
    write_texts([(output, render[output.format]()) for output in wanted])
    sys.exit(EXIT_WORSE if findings else EXIT_HOLES if holes else 0)


def _asked(**access: Any) -> "tuple[dict[str, Report], dict[str, str], list[str]]":
    """The reports of the nodes of an inventory on themselves, their sites, and the nodes without one."""
    from preflight.fleet.run import CancelledError, FleetRun, Wish

    with _cancellable() as cancelled, _explaining(cancelled), _engine(_access(**access), cancelled) as engine:
        hosts = _hosts(engine)
        try:
            found = FleetRun(engine, hosts, Wish(measure=False), cancelled, _tell, _say).run()
        except CancelledError:
            sys.exit(INTERRUPTED)
    return found.first, {host.name: host.site for host in hosts if host.site is not None}, list(found.holes)


@fleet.command("clean", short_help="Remove whatever a run left behind.")
@_with(_ACCESS, _ASKING)
def clean(**access: Any) -> None:
    """End everything that runs left on the nodes, and remove its files: also what a run that is under way needs."""
    from preflight.fleet.outcome import hole_of
    from preflight.fleet.remote.clean import ANY

    with _explaining(), _engine(_access(**access), lambda: False) as engine:
        hosts = [host.name for host in _hosts(engine)]
        steps = engine.play("clean", hosts, {"clean_run": ANY, "clean_keep": ""}, _tell)
    bad = [hole_of(step) for step in steps if step.kind != "ok"]
    sys.exit(EXIT_HOLES if bad else 0)


@fleet.command("pack", short_help="Write what your own playbooks need.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def pack(folder: Path) -> None:
    """Write the Ansible collection overlay.preflight into FOLDER, and the program that its roles bring to nodes.

    The roles are those of `run`: install, responder, run, clean; and exporter, for good. The collection's README has a
    playbook. The program is for nodes with this Python's version and this kind of machine.
    """
    from preflight.fleet.packing import write_all

    with _explaining():
        for path in write_all(folder):
            click.echo(str(path))


def joined(found: "Found") -> "Matrix":
    """The matrix of a run."""
    from preflight.report.matrix import Hole
    from preflight.report.merge import merge

    holes = [Hole(node=hole.node, code=hole.code.slug, message=hole.message) for hole in found.holes.values()]
    matrix = merge(found.reports, found.names, holes, found.sites)
    missed = tuple(f"{pair.initiator} ↔ {pair.target} missed its round" for pair in found.missed)
    return matrix.model_copy(update={"left_out": missed})


def exit_code(matrix: "Matrix", *, require_all: bool, missed: bool) -> int:
    """1 for faults, then 3 for holes."""
    holes = matrix.undecided or missed
    if matrix.failed or (holes and require_all):
        return EXIT_WORSE
    return EXIT_HOLES if holes else 0


def _pairs(text: str) -> "Pairs":
    from preflight.fleet.schedule import Pairs

    try:
        return Pairs.parse(text)
    except ValueError as error:
        raise click.UsageError(f"--pairs: {error}") from None


def _access(
    inventory: str, limit: str | None, vault_password_file: str | None, ask_become_pass: bool = False
) -> "Access":
    from preflight.fleet.engine import Access

    arguments = ("--vault-password-file", str(Path(vault_password_file).absolute())) if vault_password_file else ()
    place = inventory if "," in inventory else str(Path(inventory).absolute())
    if not ask_become_pass:
        return Access(place, limit, arguments)
    password = click.prompt("BECOME password", hide_input=True, err=True)
    return Access(place, limit, arguments, ("--ask-become-pass",), {_BECOME: password})


@contextmanager
def _engine(access: "Access", cancelled: Callable[[], bool]) -> "Iterator[Engine]":
    from preflight.fleet.engine import engine

    with engine(secrets.token_hex(8), access, cancelled) as made:
        yield made


@contextmanager
def _explaining(cancelled: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Turn what makes an inventory useless into one sentence; Ctrl-C also ends the program that reads it."""
    from preflight.fleet.hosts import InventoryError

    try:
        yield
    except InventoryError as error:
        if cancelled():
            sys.exit(INTERRUPTED)
        raise Refused(one_line(str(error))) from None


def _hosts(engine: "Engine") -> "tuple[Host, ...]":
    from preflight.fleet.hosts import InventoryError, read_hosts

    hosts = read_hosts(engine.inventory())
    if not hosts:
        raise InventoryError("the inventory, with --limit if that is given, has no host")
    return hosts


def _checked(hosts: "tuple[Host, ...]", wanted: "Pairs") -> None:
    if wanted.node is not None and all(host.name != wanted.node for host in hosts):
        raise click.UsageError(f"--pairs: the inventory has no host {wanted.node!r}")
    if len(hosts) < _FEWEST:
        raise click.UsageError("a fleet has at least two hosts: `preflight all` is for one")


@contextmanager
def _cancellable() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came. Neither ends the program by itself: the nodes are cleaned first."""
    came: list[int] = []

    def cancel(number: int, frame: FrameType | None) -> None:
        if not came:
            click.echo("preflight fleet: ending, and cleaning the nodes", err=True)
        came.append(number)

    previous = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _say(sentence: str) -> None:
    click.echo(f"preflight fleet: {sentence}", err=True)


def _tell(step: "Step") -> None:
    from preflight.fleet.outcome import hole_of

    if step.kind == "ok":
        words = _DONE.get(step.task)
        if words and not step.result.get("skipped"):
            click.echo(f"{step.host}: {words}", err=True)
        return
    hole = hole_of(step)
    click.echo(f"{step.host}: {hole.code}: {hole.message}", err=True)
