"""What there is to build and to break, for `preflight lab list`."""

from dataclasses import asdict
from typing import Any

from preflight.lab.axes.setup import AXES
from preflight.lab.labs import all_labs
from preflight.lab.scenario_file import offered, usage
from preflight.lab.scenarios import SCENARIOS, Scenario
from preflight.lab.scoreboard import named
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.topology import TOPOLOGIES
from preflight.lab.truth import STATIONS, Way


def inventory() -> dict[str, Any]:
    """Labs that are up, topologies and scenarios, and what a scenario file may name."""
    labs = all_labs()
    return {
        "labs": [
            {"name": name, "kind": found and found.kind, "scenario": found and found.scenario}
            for name, found in labs.items()
        ],
        "topologies": [{"name": each.name, "summary": each.summary} for each in TOPOLOGIES.values()],
        "scenarios": [_described(scenario) for scenario in SCENARIOS.values()],
        "axes": [
            {
                "name": name,
                "question": axis.question,
                "values": [{"name": key, "summary": value.summary} for key, value in axis.values.items()],
            }
            for name, axis in AXES.items()
        ],
        "stations": [_struck(way, station) for way, row in STATIONS.items() for station in row],
        "faults": [
            {"name": name, "usage": usage(name, make), "summary": _first_sentence(make.__doc__ or "")}
            for name, make in offered().items()
        ],
    }


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".") + "."


def _struck(way: Way, station: str) -> dict[str, Any]:
    """The faults at a station."""
    here = [fault for fault in FAULTS.values() if (fault.place.way, fault.place.station) == (way, station)]
    named = [{"name": fault.name, "host": fault.place.host, "summary": fault.summary} for fault in here]
    return {"way": way, "station": station, "faults": named}


def _described(scenario: Scenario) -> dict[str, Any]:
    return {
        "name": scenario.name,
        "topology": scenario.topology,
        "summary": scenario.summary,
        "setup": scenario.draw.setup.changed() if scenario.draw else {},
        "faults": list(scenario.draw.faults) if scenario.draw else [],
        "expected": [asdict(expected) for expected in scenario.expected],
        "needs_root": not scenario.loopback,
    }


def inventory_text(everything: dict[str, Any]) -> str:
    """The inventory in aligned lines."""
    lines = ["Labs that are up:"]
    lines += [
        f"  {each['name']:<24} {each['scenario'] or 'unfinished'} {each['kind'] or ''}".rstrip()
        for each in everything["labs"]
    ]
    if not everything["labs"]:
        lines.append("  none; `preflight lab up pair` makes one")
    lines += ["", "Topologies:", *(f"  {each['name']:<24} {each['summary']}" for each in everything["topologies"])]
    lines += ["", "Scenarios, and the expected diagnosis:"]
    lines += [f"  {each['name']:<24} {_expectation(each['expected'])}" for each in everything["scenarios"]]
    lines += ["", "Set-ups: `setup: {AXIS: VALUE}` in a scenario file; the first value is the plain one."]
    lines += [
        f"  {each['name']:<24} {' '.join(value['name'] for value in each['values'])}" for each in everything["axes"]
    ]
    lines += ["", "Faults by the station at which they strike: `faults: [NAME]` in a scenario file."]
    for station in everything["stations"]:
        lines += [f"  {station['way']}: {station['station']}"] if station["faults"] else []
        lines += [f"    {each['name']:<30} {each['summary']}" for each in station["faults"]]
    lines += ["", "Faults with values: `faults: [{NAME: {VALUE: …}}]` in a scenario file."]
    lines += [f"  {each['usage']:<52} {each['summary']}" for each in everything["faults"]]
    return "\n".join([*lines, ""])


def _expectation(expected: list[dict[str, str | None]]) -> str:
    return " or ".join(named((str(each["code"]), each["direction"])) for each in expected) or "none"
