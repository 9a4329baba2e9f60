"""What a check may declare and give: tables of both sides."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from preflight import codes
from preflight.api import Check, Code, Context, Direction, Evidence, Facts, Result, Severity, failed, passed
from preflight.engine.contract import RESULT, ContractError, breakage, declared, kept, well_formed
from preflight.model.facts import AnswerFacts, EchoFacts, MtuFacts, MtuSearchFacts, ReverseTraceFacts
from preflight.model.printable import excerpt
from tests.sample_facts import sample

OWN = Code("site.too-old", "The kernel is too old")
FINE = passed("b", Direction.FORWARD, "fine")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts(Facts):
    """Facts of another package."""

    kernel: str


async def function(ctx: Context) -> AsyncGenerator[Result, None]:
    yield FINE


CHECK = Check(id="site.kernel", title="Kernel", category="site", subject="node", codes=(OWN,), function=function)


@pytest.mark.parametrize(
    "more",
    [
        {"codes": (codes.MTU_BLACK_HOLE, OWN)},
        {"timeout": 0, "timeout_per_peer": 3600.0},
        {"tags": ("slow",), "privileges": ("net_raw",), "needs": ("reach.udp",)},
        {"after": ("reach.udp",), "when": "trouble", "reads": (MtuFacts, AnswerFacts)},
    ],
)
def test_what_the_guide_allows_is_allowed(more: dict[str, Any]) -> None:
    """Codes of ours as they are, own codes, limits up to an hour."""
    check = replace(CHECK, **more)
    assert declared(check) is check


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"id": "kernel"}, "the id 'kernel' is not of the form area.name"),
        ({"id": b"site.kernel"}, "id: Input should be a valid string"),
        ({"timeout": 3601}, "a time limit is not from 0 to 3600 s"),
        ({"codes": (replace(OWN, slug="run.fine"),)}, "the code 'run.fine' is not its own to define"),
        ({"codes": (replace(codes.MTU_BLACK_HOLE, severity=Severity.WARN),)}, "the code 'mtu.black-hole' is not its"),
        ({"when": "sometimes"}, "when: Input should be 'always' or 'trouble'"),
        ({"reads": (int,)}, "reads.0: Input should be a subclass of Facts"),
        ({"reads": (Facts,)}, "it reads Facts, which no check gives"),
        ({"reads": (SiteFacts,)}, "it reads SiteFacts, which no check gives"),
        ({"function": test_what_the_guide_allows_is_allowed}, "it is not an async generator"),
    ],
)
def test_what_is_declared_wrongly_is_reported_in_a_sentence(more: dict[str, Any], sentence: str) -> None:
    """The sentence goes to the operator, who passes it to the author."""
    with pytest.raises(ContractError, match=f"^{sentence}"):
        declared(replace(CHECK, **more))


@pytest.mark.parametrize(
    "result",
    [
        FINE,
        failed(OWN, "b", Direction.FORWARD, "x", started_at=datetime(2026, 1, 2, tzinfo=UTC), attempts=3),
        passed("b", Direction.LOCAL, "x", measurements={"a": 1, "b": 0.5, "c": True, "d": None, "e": [1, 2.5, "x"]}),
        passed("b", Direction.LOCAL, "x", evidence=(Evidence("k", "s", {"rows": [{"a": None}]}, "a/b"),)),
    ],
)
def test_a_good_result_crosses_a_process_unchanged(result: Result) -> None:
    """What a check in a separate process gives is what the report holds."""
    assert RESULT.validate_json(RESULT.dump_json(well_formed(result))) == result


def test_a_check_gives_only_the_facts_that_it_is_known_to_give() -> None:
    """Readers find facts by the check that gives them: those of an unknown class, or from elsewhere, reach nobody."""
    measured = replace(FINE, facts=sample(MtuSearchFacts))
    assert kept(replace(CHECK, id="mtu.path"), measured, set()) is measured
    for stray in (measured, replace(FINE, facts=SiteFacts(kernel="6.1"))):
        with pytest.raises(ContractError, match="are not facts that it may give"):
            kept(CHECK, stray, set())


def test_measurements_are_made_from_facts_and_what_stands_beside_them() -> None:
    """The report contains all, the facts first; replacing another field of the result changes none of it."""
    facts = EchoFacts(sent=4, received=4, rtt_min_ms=0.5)
    result = passed("b", Direction.FORWARD, "fine", facts=facts, measurements={"seen_as": "x"})
    assert list(result.measurements.items()) == [("sent", 4), ("received", 4), ("rtt_min_ms", 0.5), ("seen_as", "x")]
    assert replace(result, message="good").measurements == result.measurements


def test_half_a_surrogate_pair_in_facts_is_replaced() -> None:
    """A peer reports the names of its interfaces: facts hold strangers' words too."""
    result = well_formed(replace(FINE, facts=sample(ReverseTraceFacts, interface="eth\ud800")))
    assert isinstance(result.facts, ReverseTraceFacts)
    assert result.facts.interface == result.measurements["interface"] == "eth\ufffd"


def test_half_a_surrogate_pair_is_replaced() -> None:
    """Text may come from strangers: it does not make a check broken, and it must not break the report."""
    texts: dict[str, Any] = {
        "message": "a\ud800b",
        "aspect": "\udfff",
        "evidence": (Evidence("k", "s", {"\ud800": ["\ud83d\ude00"]}),),
    }
    result = well_formed(replace(FINE, **texts))
    assert (result.message, result.aspect) == ("a\ufffdb", "\ufffd")
    assert result.evidence[0].data == {"\ufffd": ["\U0001f600"]}
    assert result.status is FINE.status


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"status": "pass"}, "it gave a result with status: Input should be an instance of Status"),
        ({"message": None}, "it gave a result with message: Input should be a valid string"),
        ({"measurements": {"rtt_ms": float("nan")}}, "it gave a result with measurements.rtt_ms"),
        ({"evidence": (Evidence("k", "s", object()),)}, "it gave evidence that is not JSON"),
        ({"code": OWN}, "pass with code site.too-old"),
        ({"blocked_by": "reach.udp/b/round-trip"}, "blocked by a result of another check"),
    ],
)
def test_a_bad_result_is_reported_in_a_sentence(more: dict[str, Any], sentence: str) -> None:
    """A wrong type is the check's own fault."""
    with pytest.raises(ContractError, match=f"^{sentence}"):
        kept(CHECK, replace(FINE, **more), set())


def test_a_check_that_gives_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report has a limit, and so has the memory of this machine."""
    monkeypatch.setattr("preflight.engine.contract.MOST_RESULTS", 2)
    known: set[tuple[str, str, str]] = set()
    for aspect in "ab":
        kept(CHECK, replace(FINE, aspect=aspect), known)
    with pytest.raises(ContractError, match="more than 2 results"):
        kept(CHECK, replace(FINE, aspect="c"), known)


def test_a_stranger_s_words_stay_one_line() -> None:
    """An exception's text can neither forge a line nor reach the terminal."""
    assert excerpt("a\n\x1b[2Jb\u2028c") == "a [2Jb c"
    assert str(breakage(ValueError("a\nPASS"))) == "ValueError: a PASS"
