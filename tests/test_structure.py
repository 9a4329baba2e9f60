"""No module and no function is long, and an import is inside a function only where that saves someone its cost.

An import is at the top of its module, unless start-up pays for it. That is the case for two kinds:

* a slow library (`SLOW`), or a module of ours that loads one, which the module around the function has not loaded;
* what only some uses need of a module that must load at once (`LEAN`).
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from preflight.cli.group import COMMANDS

ROOT = Path(__file__).parents[1]
LONGEST_MODULE, LONGEST_FUNCTION = 400, 40
SLOW = {
    "click": 21,  # `--version` does without
    "dataclasses": 11,  # `--version`
    "asyncio": 34,  # a search of the path MTU alone, `--version`
    "socket": 4,  # `--version`; the catalogue of checks
    "ssl": 13,  # whatever asks no control plane
    "yaml": 18,  # the catalogue of checks, `--help`
    "pydantic_core": 38,  # the catalogue of checks, the child of a plug-in, `--help`
    "pydantic": 43,  # the same
    "importlib.resources": 6,  # `--help`
    "httpx": 129,  # runs that ask no control plane
    "rich": 45,  # runs whose report goes to a file; with Markdown 122
    "pyroute2": 252,  # runs that ask the kernel for no route; `lab list`
    "cryptography": 51,  # runs that read no certificate and make no key
    "jinja2": 38,  # reports other than HTML
    "starlette": 90,  # whatever serves nothing
    "uvicorn": 65,  # the same
    "h11": 10,  # the same
    "jwt": 68,  # the same
    "prometheus_client": 48,  # reports other than OpenMetrics
    "aioice": 96,  # runs that ask no STUN server
    "dns": 59,  # runs that ask no resolver
    "ansible_runner": 148,  # whatever is not about a fleet; an extra, so it may be missing
    "packaging": 103,  # the same
    "detect_secrets": 117,  # runs that find no line which may hold a secret
}
"""Milliseconds that a first import takes (`python -X importtime`, a virtual machine of two cores), and who would pay
for it at the top. What is missing here takes less than the shortest of these."""


class Import(NamedTuple):
    """One import inside a function, and the modules that it names."""

    module: str
    line: int
    names: tuple[str, ...]


def _module(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts[0] = {"checks": "preflight_checks"}.get(parts[0], parts[0])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_module(path): path for folder in ("preflight", "checks") for path in (ROOT / folder).rglob("*.py")}
SOURCES = [path for folder in ("preflight", "checks", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
COMMAND_MODULES = {place.partition(":")[0] for place in COMMANDS.values()} | {"preflight.cli.group"}
LEAN = COMMAND_MODULES | {"preflight.net.pmtu.search"}
"""Loaded by `--help` and shell completion; and by whoever searches a path MTU as a library."""


@cache
def tree(path: Path) -> ast.Module:
    """A file's syntax."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, methods and nested ones too."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def named(node: ast.Import | ast.ImportFrom, module: str) -> tuple[str, ...]:
    """The modules that an import loads, without those above them."""
    if isinstance(node, ast.Import):
        return tuple(alias.name for alias in node.names)
    package = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
    above = package[: len(package) - node.level + 1] if node.level else []
    base = ".".join([*above, *filter(None, [node.module])])
    return tuple(full if (full := f"{base}.{alias.name}") in FILES else base for alias in node.names)


@cache
def at_top(module: str) -> frozenset[str]:
    """What a module of ours loads when it is loaded."""
    found: set[str] = set()
    todo: list[ast.stmt] = list(tree(FILES[module]).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(named(node, module))
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _for_types(node):
            todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return frozenset(found)


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def loaded(*modules: str) -> set[str]:
    """These modules, the packages that they are in, and whatever they load in turn; of ours and named libraries."""
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        parts = todo.pop().split(".")
        for each in (".".join(parts[:count]) for count in range(1, len(parts) + 1)):
            if each not in seen:
                seen.add(each)
                todo += at_top(each) if each in FILES else ()
    return seen


def inside_functions() -> Iterator[Import]:
    """Every import that is inside a function of ours."""
    for module, path in FILES.items():
        for function in functions(path):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield Import(module, node.lineno, named(node, module))


def spared(found: Import) -> set[str]:
    """What the module around an import does not pay for, thanks to its place."""
    others = COMMAND_MODULES if found.module in COMMAND_MODULES else ()
    more = loaded(*found.names) - loaded(found.module, *others)
    return {each for each in more if each in SLOW or (found.module in LEAN and each in FILES)}


def long_ones() -> Iterator[str]:
    """Modules and functions beyond their limits."""
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST_MODULE:
            yield name
        yield from (f"{name}::{each.name}" for each in functions(path) if _lines(each) > LONGEST_FUNCTION)


def test_no_module_and_no_function_is_long() -> None:
    """A module is read at a sitting and a function at a glance."""
    assert list(long_ones()) == []


def test_an_import_inside_a_function_spares_somebody_its_cost() -> None:
    """Everything else is imported at the top, where a reader looks for it."""
    for_nothing = {f"{each.module}:{each.line} {each.names}" for each in inside_functions() if not spared(each)}
    assert for_nothing == set()


def test_every_slow_library_is_spared_somewhere() -> None:
    """The table holds no library that is imported at the top anyway, or is not used any more."""
    assert {each for found in inside_functions() for each in spared(found)} >= SLOW.keys()
