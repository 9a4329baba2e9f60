"""The catalogue: every check comes through one entry-point group, bundled ones through the same door as others'."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from preflight.api import Check

GROUP = "preflight.checks"
BUNDLED = "preflight_checks"
OURS = "overlay-preflight"
"""The distribution that the bundled checks come from."""


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """An entry point, or a module behind it, that could not be used, and why."""

    origin: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """All checks by id order, and what could not be loaded."""

    checks: tuple[Check, ...]
    broken: tuple[BrokenPlugin, ...] = ()

    def by_id(self) -> dict[str, Check]:
        """The checks by id."""
        return {check.id: check for check in self.checks}


def load_catalog(*, third_party: bool = True) -> Catalog:
    """Find all checks. A plugin that breaks while it is imported is reported, and harms no other."""
    points = sorted(entry_points(group=GROUP), key=lambda point: (point.value != BUNDLED, point.name))
    found: list[Check] = []
    broken: list[BrokenPlugin] = []
    for point in points:
        if point.value == BUNDLED or third_party:
            checks, failures = _load(point)
            found += checks
            broken += failures
    return assemble(found, broken)


def assemble(found: Iterable[Check], broken: Iterable[BrokenPlugin] = ()) -> Catalog:
    """Put checks together: the first of an id wins, later ones and those with an unknown need are broken."""
    by_id: dict[str, Check] = {}
    failures = list(broken)
    for check in found:
        if check.id in by_id:
            failures.append(BrokenPlugin(check.origin, check.id, f"the id is taken by {by_id[check.id].origin}"))
        else:
            by_id[check.id] = check
    for check in list(by_id.values()):
        missing = [need for need in check.needs if need not in by_id]
        if missing:
            failures.append(BrokenPlugin(check.origin, check.id, f"needs {missing[0]}, which does not exist"))
            del by_id[check.id]
    return Catalog(tuple(by_id.values()), tuple(failures))


def _load(point: EntryPoint) -> tuple[list[Check], list[BrokenPlugin]]:
    origin = point.dist.name if point.dist else point.value
    checks: list[Check] = []
    broken: list[BrokenPlugin] = []
    for name, load in _modules(point):
        try:
            checks += [replace(check, origin=origin) for check in _declared(load())]
        except Exception as error:  # whatever a stranger's import raises must not harm the run
            broken.append(BrokenPlugin(origin, name, f"{type(error).__name__}: {error}"))
    return checks, broken


class _Loader:
    """Imports one module when called, so that each failure is told apart."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> ModuleType:
        return importlib.import_module(self.name)


def _modules(point: EntryPoint) -> Iterator[tuple[str, _Loader]]:
    """The entry point's module and, where it is a package, all modules in it."""
    yield point.module, _Loader(point.module)
    try:
        package = importlib.import_module(point.module)
    except Exception:  # reported by the loader just yielded
        return
    for info in pkgutil.iter_modules(getattr(package, "__path__", ())):
        name = f"{point.module}.{info.name}"
        yield name, _Loader(name)


def _declared(module: ModuleType) -> list[Check]:
    """The checks that a module declares itself (not those that it imported)."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, Check) and value.function.__module__ == module.__name__
    ]
