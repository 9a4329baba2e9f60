"""A user's scenario, to rehearse an incident: a YAML file with topology, faults and the expected diagnosis.

```yaml
topology: pair
overlay: {tunnel_mtu: 1420, keepalive_s: 25, families: [4, 6]}
faults:
  - black-hole: {source: a, target: b, mtu: 1380}
  - no-echo: {node: b}
expect: [mtu.black-hole forward, reach.icmp-filtered]
```

Or with the axes and faults of `preflight lab fuzz`, which know what is true of them:

```yaml
setup: {routes: default, nat: nat, firewall: nftables}
faults: [filter-out-drop]
```
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, validate_call

from preflight.codes import ALL
from preflight.lab import faults, mesh, routes, services
from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Product
from preflight.lab.draws import Draw, definition
from preflight.lab.names import LabError
from preflight.lab.part import Part, planned
from preflight.lab.scenarios import Expected, Scenario
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.topology import TOPOLOGIES, Family

Factory = Callable[..., Part | tuple[Part, ...]]

_NODE_PARAMETERS = {"node", "peer", "source", "target", "of", "to", "one", "other"}


class Overlay(BaseModel):
    """The fields of the overlay's plan that a file may change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    product: Product = "wireguard"
    tunnel_mtu: int = Field(1420, ge=576, le=9000)
    keepalive_s: int = Field(25, ge=0, le=65535)
    families: tuple[Family, ...] = Field((4, 6), min_length=1)


class ScenarioFile(BaseModel):
    """What the file may contain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: str = ""
    topology: Literal["pair", "hub", "solo", "loopback"] = "pair"
    overlay: Overlay = Overlay()
    setup: dict[str, str] = Field(default_factory=dict)
    faults: tuple[str | dict[str, Any], ...] = ()
    expect: tuple[str, ...] = ()
    exit_code: int | None = None


def offered() -> dict[str, Factory]:
    """Every fault that a file may name, by its name there."""
    return {
        name.replace("_", "-"): value
        for module in (faults, mesh, routes, services)
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and "Part" in str(inspect.signature(value).return_annotation)
    }


def usage(name: str, factory: Factory) -> str:
    """The syntax of a fault in a file: its name and parameters; optional ones in brackets."""
    parameters = inspect.signature(factory).parameters.values()
    words = [p.name if p.default is p.empty and p.kind is not p.VAR_POSITIONAL else f"[{p.name}]" for p in parameters]
    return f"{name}: {{{', '.join(words)}}}" if words else name


def read_scenario(path: Path) -> Scenario:
    """Read a scenario file. Raises LabError with what is wrong in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    return parse_scenario(path.stem, text)


def parse_scenario(name: str, text: str) -> Scenario:
    """A scenario from the text of its file. Raises LabError."""
    try:
        file = ScenarioFile.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise LabError(f"{name}: not valid YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        raise LabError(f"{name}: {_first_mistake(error)}") from None
    expected = tuple(_expected(name, words) for words in file.expect)
    changed = file.overlay.model_dump(exclude_unset=True)
    shaped = (planned(f"the overlay's plan says {changed}", **changed),) if changed else ()
    setup = _setup(name, file.setup)
    broken = tuple(part for entry in file.faults for part in _parts(name, entry, file.topology, setup))
    return Scenario(
        name=_lab_name(name),
        summary=file.summary or "; ".join(part.summary for part in broken) or "no fault",
        topology=file.topology,
        faults=(*shaped, *setup.parts(), *broken),
        expected=expected[:1],
        also=expected[1:],
        exit_code=file.exit_code,
        definition=text,
        draw=(drawn := _draw(name, file, setup)),
        by_truth=drawn is not None,
    )


def _setup(name: str, values: Mapping[str, str]) -> Setup:
    try:
        return Setup.of(values)
    except ValueError as error:
        raise LabError(f"{name}: setup: {error}") from None


def _draw(name: str, file: ScenarioFile, setup: Setup) -> Draw | None:
    """The draw that the file describes: it says what is true. None for a file with expectations."""
    drawn = [entry for entry in file.faults if isinstance(entry, str) and entry in FAULTS]
    if file.expect or len(drawn) < len(file.faults) or not (file.setup or drawn):
        return None
    found = Draw(setup, tuple(drawn))
    reason = found.impossible()
    if reason is not None:
        raise LabError(f"{name}: {found} cannot exist: {reason}")
    return found


def _parts(name: str, entry: str | dict[str, Any], topology: str, setup: Setup) -> Iterator[Part]:
    """The parts of one entry: a fault of a station, which fits itself to the set-up, or one with values."""
    if isinstance(entry, str) and entry in FAULTS:
        return iter(FAULTS[entry].made(setup))
    return _made(name, entry, topology)


def scenario_of(drawn: Draw) -> Scenario:
    """A draw as a scenario, with the file that makes it again."""
    return Scenario(
        name=_lab_name(drawn.name),
        summary=str(drawn),
        faults=drawn.parts(),
        definition=yaml.safe_dump(dict(definition(drawn)), sort_keys=False),
        draw=drawn,
        by_truth=True,
    )


def _lab_name(stem: str) -> str:
    """The name of a file as the name of a lab."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in stem.lower()).strip("-_")
    return plain[:32] or "scenario"


def _expected(name: str, words: str) -> Expected:
    """`CODE` or `CODE DIRECTION`."""
    code, _, direction = words.partition(" ")
    if code not in ALL:
        near = get_close_matches(code, ALL, n=1, cutoff=0.0)
        raise LabError(f"{name}: no finding code is called {code!r}; nearest: {near[0]}")
    if direction not in ("", "forward", "reverse", "round-trip", "local"):
        raise LabError(f"{name}: {direction!r} is not a direction: forward, reverse, round-trip or local")
    return Expected(code, direction or None)


def _made(name: str, entry: str | Mapping[str, Any], topology: str) -> Iterator[Part]:
    called, arguments = (entry, {}) if isinstance(entry, str) else _single(name, entry)
    factories = offered()
    if called not in factories:
        near = get_close_matches(called, factories, n=1, cutoff=0.0)
        raise LabError(f"{name}: no fault is called {called!r}; nearest: {usage(near[0], factories[near[0]])}")
    factory = factories[called]
    _refuse_strangers(name, called, arguments, topology)
    positional = _positional(factory, arguments)
    try:
        made = validate_call(factory)(*positional, **arguments)
    except ValidationError as error:
        raise LabError(f"{name}: {usage(called, factory)}: {_first_mistake(error)}") from None
    yield from made if isinstance(made, tuple) else (made,)


def _single(name: str, entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if len(entry) != 1:
        raise LabError(f"{name}: a fault is a name, or one name with its values: {', '.join(map(str, entry))}")
    ((called, arguments),) = entry.items()
    if not isinstance(arguments, dict | None):
        raise LabError(f"{name}: {called}: write its values as {{key: value}}")
    return str(called), {str(key).replace("-", "_"): value for key, value in (arguments or {}).items()}


def _refuse_strangers(name: str, called: str, arguments: Mapping[str, Any], topology: str) -> None:
    """A node that the topology lacks would fail only when the fault is injected."""
    members = TOPOLOGIES[topology].members
    for parameter in _NODE_PARAMETERS & arguments.keys():
        if arguments[parameter] not in members:
            raise LabError(f"{name}: {called}: {topology} has no node {arguments[parameter]!r}: {', '.join(members)}")


def _positional(factory: Factory, arguments: dict[str, Any]) -> tuple[Any, ...]:
    """Extract the positional arguments of a fault from its parameters.

    A factory's variadic parameter is a list under its name in the file. It and the parameters before it are passed by
    position: Python does not accept keyword arguments before positional ones.
    """
    parameters = list(inspect.signature(factory).parameters.values())
    many = next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if many is None or many.name not in arguments:
        return ()
    rest = TypeAdapter(list[Any]).validate_python(arguments.pop(many.name))
    before = parameters[: parameters.index(many)]
    return (*(arguments.pop(p.name) for p in before if p.name in arguments), *rest)


def _first_mistake(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
