"""What to do about a cause, the same in each format: what is missing for many checks and peers is offered once."""

import shlex
from collections.abc import Iterable, Iterator, Sequence

from preflight.report.common import Advice, advice
from preflight.report.grouping import CauseGroup
from preflight.report.model import Report

SHOWN = 6
"""How many lines of what is missing at many peers are shown."""


def plain_user(report: Report) -> bool:
    """Whether who ran it has none of root's privileges, so that commands for that node need `sudo`."""
    return not report.run.node.privileges


def offers(report: Report, group: CauseGroup, *, sudo: bool) -> Iterator[Advice]:
    """For what is missing at many peers, the lines for each; for a privilege, the one way to have it.

    sudo: who reads this is not root, so what needs root gets it.
    """
    if group.of_this_user and sudo:
        _, *words = report.run.command or ("preflight", "all")
        yield Advice("fix", (f'sudo "$(command -v preflight)" {shlex.join(words)}',))
        return
    if group.first.code == "run.needs-responder":
        yield from _by_ssh(report.run.command)
    entries = group.causes if group.said_once else (group.first,)
    for each in advice(*entries, sudo=sudo):
        if len(each.lines) <= SHOWN or not group.said_once:
            yield each
        else:
            more = f"# and {len(each.lines) - SHOWN} more lines: -v or the JSON report has all"
            yield Advice(each.label, (*each.lines[:SHOWN], more))


def _by_ssh(command: Sequence[str]) -> Iterable[Advice]:
    """The same run, which then starts responders itself: nothing has to be installed for it."""
    if tuple(command[1:2]) in (("all",), ("run",)) and not {"--via", "--lab"} & set(command):
        yield Advice("next", (f"{shlex.join(command)} --via ssh   # by your own ssh",))
