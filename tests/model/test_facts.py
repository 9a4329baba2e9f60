"""Facts: what is read is produced, what is produced is read, and the report is made from it."""

import ast
import re
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import pytest

from preflight.model import facts
from preflight.model.facts import GIVEN_BY, Facts, HandshakeFacts, InterfaceFacts
from tests.sample_facts import sample

ROOT = Path(facts.__file__).parents[2]
CHECKS = {path: path.read_text() for path in (ROOT / "checks").glob("*.py")}
PROGRAM = {path: path.read_text() for path in (ROOT / "preflight").rglob("*.py")}
KINDS = {kind for kinds in GIVEN_BY.values() for kind in kinds}


def made_in(source: str) -> set[str]:
    """Names of the classes of facts that a module makes objects of."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    known = {name for name, value in vars(facts).items() if isinstance(value, type) and issubclass(value, Facts)}
    # What decided a death is given beside the facts of a check too, as plain measurements.
    return {call.id for call in calls if isinstance(call, ast.Name)} & known - {"DeathFacts"}


def keywords_in(source: str) -> set[str]:
    """Names of all arguments that a module gives to anything."""
    return {node.arg for node in ast.walk(ast.parse(source)) if isinstance(node, ast.keyword) and node.arg}


def asked_for_in(sources: Iterable[str]) -> set[str]:
    """Names of the classes that modules look for with `isinstance`, or that checks declare to read."""
    named: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
                named |= {name.id for name in ast.walk(node.args[1]) if isinstance(name, ast.Name)}
            elif isinstance(node, ast.keyword) and node.arg == "reads":
                named |= {name.id for name in ast.walk(node.value) if isinstance(name, ast.Name)}
    return named


def unread(kinds: Iterable[type[Facts]], sources: Iterable[str]) -> set[str]:
    """The classes of facts that nobody asks for, neither by their name nor by that of their base."""
    asked = asked_for_in(sources)
    return {
        kind.__name__ for kind in kinds if not asked & {base.__name__ for base in kind.__mro__ if base is not Facts}
    }


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.stem)
def test_each_check_makes_the_facts_that_it_is_said_to_give(path: Path) -> None:
    """A reader of facts that no check makes would wait for ever, and a report could not be read back."""
    check = path.stem.replace("_", ".", 1).replace("_", "-")
    assert made_in(CHECKS[path]) == {kind.__name__ for kind in GIVEN_BY.get(check, ())} - {"DeathFacts"}


@pytest.mark.parametrize("check", GIVEN_BY)
def test_each_optional_field_is_given_by_some_check(check: str) -> None:
    """A required field is given when the object is made; an optional one may be forgotten by all."""
    checks = {check for check, kinds in GIVEN_BY.items() if set(kinds) & set(GIVEN_BY[check])}
    given = {name for each in checks for name in keywords_in((ROOT / "checks" / _file(each)).read_text())}
    own = set(GIVEN_BY[check]) - {facts.DeathFacts}  # which each station fills differently
    optional = {field.name for kind in own for field in fields(kind) if field.default is not MISSING}
    assert optional <= given


def _file(check: str) -> str:
    return check.replace(".", "_").replace("-", "_") + ".py"


def test_all_facts_are_read() -> None:
    """What nobody reads is a measurement: facts are a promise to other parts, and cost a name."""
    assert unread(KINDS, [*PROGRAM.values(), *CHECKS.values()]) == set()


def test_facts_that_nobody_reads_are_found() -> None:
    """The test above can fail: here nobody asks for handshakes any more, and a new class has no reader."""

    @dataclass(frozen=True, slots=True, kw_only=True)
    class ForgottenFacts(Facts):
        value_ms: float

    sources = [*PROGRAM.values(), *CHECKS.values()]
    without = [source.replace("HandshakeFacts", "InterfaceFacts") for source in sources]
    assert unread([*KINDS, ForgottenFacts], without) == {"HandshakeFacts", "ForgottenFacts"}
    assert made_in("x = HandshakeFacts(a=1)\ny = facts.InterfaceFacts") == {"HandshakeFacts"}


def test_no_measurement_is_read_by_its_name() -> None:
    """A name in quotes outlives the field that it meant, and no type checker reports it."""
    literal = re.compile(r"measurements(\.get\(|\[)[\"']")
    assert [path.name for path, source in {**PROGRAM, **CHECKS}.items() if literal.search(source)] == []
    assert literal.search('result.measurements.get("rtt_ms")')


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.stem)
def test_checks_read_what_they_declare(path: Path) -> None:
    """Facts that are not declared are never handed over: the check would find nothing, and nobody would notice."""
    tree = ast.parse(CHECKS[path])
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    asked = {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "ctx.facts"}
    declared = {
        ast.unparse(kind)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "reads" and isinstance(node.value, ast.Tuple)
        for kind in node.value.elts
    }
    assert asked == declared


def test_measurements_are_the_fields_in_their_order() -> None:
    """The report shows a field that was not measured as null, and leaves out an optional one that does not apply."""
    assert list(sample(HandshakeFacts).measurements().items()) == [
        ("handshake_age_s", None),
        ("sent_bytes", 0),
        ("received_bytes", 0),
        ("watched_s", 0.0),
    ]
    assert sample(facts.TunnelMtuFacts, tunnel_mtu_bytes=1420).measurements() == {"tunnel_mtu_bytes": 1420}
    assert InterfaceFacts(mtu_bytes=1420, peers=2).measurements() == {"mtu_bytes": 1420, "peers": 2}


def test_optional_fields_are_none_while_they_do_not_apply() -> None:
    """Another default would be in no report, and read back as measured."""
    defaults = [field.default for kind in KINDS for field in fields(kind) if field.default is not MISSING]
    assert set(defaults) == {None}
