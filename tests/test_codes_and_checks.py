"""Finding codes both ways: each code has a check that can give it, and each check declares only what it can give."""

import ast
from collections.abc import Mapping
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


BY_OTHERS = _named_in("model", "proto", "overlay")
"""What checks are handed as data: a table of answers, the condition of an overlay."""
BY_THE_RUNNER = {slug for slug in _named_in("engine", "cli") if slug.startswith("run.")}
BY_THE_FLEET = {slug for slug in _named_in("fleet") if slug.startswith("fleet.")}
"""Why a node of a fleet gave no report: no check runs there."""
DECLARED = {check.id: {code.slug for code in check.codes} for check in load_catalog(third_party=False).checks}
GIVEN = {
    check.id: given_in((ROOT / "checks" / f"{check.module.rpartition('.')[2]}.py").read_text()) | BY_OTHERS
    for check in load_catalog(third_party=False).checks
}


def without_a_check(declared: Mapping[str, set[str]], given: Mapping[str, set[str]]) -> set[str]:
    """The codes that no check both declares and gives. Codes of a run need no declaration."""
    of_checks = {slug for id, slugs in declared.items() for slug in slugs & given[id]}
    of_runs = {slug for slugs in given.values() for slug in slugs if slug.startswith("run.")}
    return set(codes.ALL) - of_checks - of_runs - BY_THE_RUNNER - BY_THE_FLEET


def never_given(declared: Mapping[str, set[str]], given: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """What checks declare and cannot give."""
    return {(id, slug) for id, slugs in declared.items() for slug in slugs - given[id]}


def test_just_the_owed_codes_have_no_check() -> None:
    """A code without a check is a page that no finding leads to; a debt that was paid must leave the list."""
    assert without_a_check(DECLARED, GIVEN) == OWED


def test_no_check_declares_what_it_never_gives() -> None:
    """The catalogue shows what a check may find: a code that it only declares is a promise not kept."""
    assert never_given(DECLARED, GIVEN) == set()


def test_a_missing_check_and_a_paid_debt_are_found() -> None:
    """The tests above can fail, each way."""
    moved = {**DECLARED, "udp.quality": DECLARED["udp.quality"] - {"udp.jitter"}}
    assert without_a_check(moved, GIVEN) == {*OWED, "udp.jitter"}
    promised = {**moved, "control.health": DECLARED["control.health"] | {"udp.jitter"}}
    assert without_a_check(promised, GIVEN) == {*OWED, "udp.jitter"}
    assert never_given(promised, GIVEN) == {("control.health", "udp.jitter")}
    given = {**GIVEN, "control.health": GIVEN["control.health"] | {"udp.jitter"}}
    assert without_a_check(promised, given) == OWED


def test_a_declaration_alone_gives_nothing() -> None:
    """A code in `codes=` is a promise; its use in the module keeps it."""
    source = "@check(codes=(codes.UDP_LOSS,))\ndef f(): return codes.UDP_JITTER, 'udp.blocked'"
    assert given_in(source) == {"udp.jitter", "udp.blocked"}
