"""What `doctor` found, for a person and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from preflight import __version__
from preflight.model.machine import Area, Machine, Need

MARKS = {"here": ("✓", "green"), "partly": ("!", "yellow"), "missing": ("✗", "bold red"), "unknown": ("?", "cyan")}
_AREAS: dict[Area, str] = {"checks": "checks", "more": "other commands", "lab": "the lab"}
_WORDS = {"partly": "partly here", "missing": "missing", "unknown": "not known"}


def as_json(machine: Machine, found: Sequence[Need], install: Sequence[str], exit_code: int) -> str:
    """One document: the machine, what it has and lacks, and the lines that install what is missing."""
    about = {**asdict(machine), "capabilities": sorted(machine.capabilities), "programs": sorted(machine.programs)}
    document = {
        "tool": {"name": "preflight", "version": __version__},
        "machine": about,
        "needs": [asdict(need) for need in found],
        "install": list(install),
        "exit_code": exit_code,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_text(found: Sequence[Need], install: Sequence[str], exit_code: int, *, width: int, color: bool) -> str:
    """For each area one line of what is here, and each thing that is not; at the end what to paste."""
    buffer = StringIO()
    console = Console(
        file=buffer, width=width, force_terminal=color, color_system="standard" if color else None, highlight=False
    )
    said: set[str] = set()
    for area, name in _AREAS.items():
        needs = [need for need in found if need.area == area]
        here = ", ".join(need.title for need in needs if need.state == "here")
        console.print(Text(f"for {name}", "bold"))
        if here:
            console.print(Padding(Text(f"✓ {here}", "green"), (0, 0, 0, 2)))
        for need in needs:
            if need.state != "here":
                _print_lacking(console, need, said)
    if install:
        console.print(Text("install what is missing:", "bold"))
        for line in install:
            console.print(Text(f"  {line}"), soft_wrap=True)
    console.print(_verdict(found, exit_code))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _print_lacking(console: Console, need: Need, said: set[str]) -> None:
    """said: the lines to paste so far; one that gives several things is shown once."""
    mark, style = MARKS[need.state]
    console.print(Padding(Text(f"{mark} {need.title}: {_WORDS[need.state]}", style), (0, 0, 0, 2)))
    less = f" ({', '.join(need.checks)})" if need.checks else ""
    console.print(Padding(Text(need.costs + less), (0, 0, 0, 4)))
    for line in need.get:
        if line in said:
            continue
        said.add(line)
        if line.endswith("."):
            console.print(Padding(Text(line), (0, 0, 0, 4)))
        else:  # to paste, so it stays one line
            console.print(Text(f"    get: {line}"), soft_wrap=True)


def _verdict(found: Sequence[Need], exit_code: int) -> Text:
    count = sum(need.area == "checks" and need.state in ("partly", "missing") for need in found)
    if not count:
        return Text(f"the checks have all that they use; exit code {exit_code}", "bold green")
    things = "1 thing that the checks use is" if count == 1 else f"{count} things that the checks use are"
    return Text(f"{things} missing; exit code {exit_code}", "bold red")
