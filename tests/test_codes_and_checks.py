"""Finding codes both ways: each code has a check that can give it, and each check declares only what it can give."""

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from preflight import codes
from preflight.engine.catalog import load_catalog

ROOT = Path(codes.__file__).parents[1]
OWED: set[str] = set()
"""Codes of the contract that have a page and rules, and no check yet. A code leaves this list with its check."""
SLUGS = {name: value.slug for name, value in vars(codes).items() if isinstance(value, codes.Code)}


def given_in(source: str) -> set[str]:
    """The codes that a module names, by constant or slug, anywhere but in a check's declaration."""
    tree = ast.parse(source)
    declared = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "codes"
        for part in ast.walk(node.value)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in declared:
            continue
        if isinstance(node, ast.Attribute) and node.attr in SLUGS:
            found.add(SLUGS[node.attr])
        elif isinstance(node, ast.Name) and node.id in SLUGS:
            found.add(SLUGS[node.id])
        elif isinstance(node, ast.Constant) and node.value in codes.ALL:
            found.add(str(node.value))
    return found


def _named_in(*folders: str) -> set[str]:
    paths = (path for folder in folders for path in (ROOT / "preflight" / folder).rglob("*.py"))
    return {slug for path in paths for slug in given_in(path.read_text())}


@cache
def by_others() -> set[str]:
    """What checks are handed as data: a table of answers, the condition of an overlay."""
    return _named_in("model", "proto", "overlay")


@cache
def by_no_check() -> set[str]:
    """What the runner gives, and why a node of a fleet gave no report: no check runs there."""
    by_the_runner = {slug for slug in _named_in("engine", "cli") if slug.startswith("run.")}
    return by_the_runner | {slug for slug in _named_in("fleet") if slug.startswith("fleet.")}


@cache
def all_given() -> dict[str, set[str]]:
    """What each check gives."""
    modules = {check.id: f"{check.module.rpartition('.')[2]}.py" for check in load_catalog(third_party=False).checks}
    return {id: given_in((ROOT / "checks" / name).read_text()) | by_others() for id, name in modules.items()}


def all_declared() -> dict[str, set[str]]:
    """What each check declares."""
    return {check.id: {code.slug for code in check.codes} for check in load_catalog(third_party=False).checks}


def without_a_check(declared: Mapping[str, set[str]], given: Mapping[str, set[str]]) -> set[str]:
    """The codes that no check both declares and gives. Codes of a run need no declaration."""
    of_checks = {slug for id, slugs in declared.items() for slug in slugs & given[id]}
    of_runs = {slug for slugs in given.values() for slug in slugs if slug.startswith("run.")}
    return set(codes.ALL) - of_checks - of_runs - by_no_check()


def never_given(declared: Mapping[str, set[str]], given: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """What checks declare and cannot give."""
    return {(id, slug) for id, slugs in declared.items() for slug in slugs - given[id]}


def test_just_the_owed_codes_have_no_check() -> None:
    """A code without a check is a page that no finding leads to; a debt that was paid must leave the list."""
    assert without_a_check(all_declared(), all_given()) == OWED


def test_no_check_declares_what_it_never_gives() -> None:
    """The catalogue shows what a check may find: a code that it only declares is a promise not kept."""
    assert never_given(all_declared(), all_given()) == set()


def test_a_missing_check_and_a_paid_debt_are_found() -> None:
    """The tests above can fail, each way."""
    declared, given = all_declared(), all_given()
    moved = {**declared, "udp.quality": declared["udp.quality"] - {"udp.jitter"}}
    assert without_a_check(moved, given) == {*OWED, "udp.jitter"}
    promised = {**moved, "control.health": declared["control.health"] | {"udp.jitter"}}
    assert without_a_check(promised, given) == {*OWED, "udp.jitter"}
    assert never_given(promised, given) == {("control.health", "udp.jitter")}
    kept = {**given, "control.health": given["control.health"] | {"udp.jitter"}}
    assert without_a_check(promised, kept) == OWED


def test_a_declaration_alone_gives_nothing() -> None:
    """A code in `codes=` is a promise; its use in the module keeps it."""
    source = "@check(codes=(codes.UDP_LOSS,))\ndef f(): return codes.UDP_JITTER, 'udp.blocked'"
    assert given_in(source) == {"udp.jitter", "udp.blocked"}
