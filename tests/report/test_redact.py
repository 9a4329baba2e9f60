"""What may leave a node in a report, and what never."""

from datetime import UTC, datetime

from preflight import codes
from preflight.api import Direction, Evidence, failed, passed
from preflight.engine.diagnosis import diagnose
from preflight.report.build import build_report
from preflight.report.json import render
from preflight.report.model import Gate, NodeInfo, Report
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.redact import GONE, Redactor
from tests.counting import calls

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoid29ya2VyIn0.c2lnbmF0dXJl"


def redact(report: Report, secrets: list[str], pseudonyms: Pseudonyms | None = None) -> Report:
    return Redactor(secrets, pseudonyms).report(report)


def make() -> Report:
    result = failed(
        codes.CONTROL_TIMEOUT,
        "office-7",
        Direction.ROUND_TRIP,
        f"10.66.0.2:9847 and [fd66::2]:9847 and 10.66.0.2/24 said s3cret-token; Authorization: Bearer abcdefgh12 {JWT}",
        remedy="curl http://admin:hunter2@populi.example/health",
        evidence=(Evidence("raw", "answer of office-7", {"body": ["s3cret-token", "127.0.0.1", "10.66.0.3"]}),),
    )
    return build_report(
        (result,),
        diagnose([result]),
        node=NodeInfo(hostname="alice-laptop", os="Debian", kernel="6.1.0.10", python="3.11.2.1"),
        overlay=None,
        started_at=datetime(2026, 11, 23, tzinfo=UTC),
        duration_ms=1,
        gate=Gate(),
    )


def test_no_secret_survives_anywhere() -> None:
    """Known values are removed everywhere; bearers, JWTs and user info are found by their shape."""
    text = render(redact(make(), ["s3cret-token"]))
    for secret in ("s3cret-token", "abcdefgh12", JWT, "hunter2"):
        assert secret not in text
    assert text.count(GONE) >= 5
    assert "10.66.0.2:9847" in text


def test_short_values_do_not_tear_holes() -> None:
    """An empty or tiny value among the secrets must not blank the whole report."""
    report = make()
    assert redact(report, ["", "a"]) == redact(report, [])


def test_pseudonyms_are_consistent_and_from_documentation_ranges() -> None:
    """One address has one pseudonym in messages, evidence and diagnosis; ports, prefixes and loopback stay."""
    report = redact(make(), [], Pseudonyms(names=("alice-laptop", "office-7", "populi.example")))
    text = render(report)
    for original in ("10.66.0.", "fd66::2", "alice-laptop", "office-7", "populi.example"):
        assert original not in text
    (result,) = report.results
    assert "192.0.2.1:9847 and [2001:db8::1]:9847 and 192.0.2.1/24" in result.message
    assert report.diagnosis[0].target == result.target == report.diagnosis[0].explains[0].split("/")[1]
    assert result.evidence[0].data["body"][1:] == ["127.0.0.1", "192.0.2.2"]
    assert report.run.node.kernel == "6.1.0.10"


def test_a_name_that_is_learnt_later_is_replaced_from_then_on() -> None:
    """A product names its members in messages; a watch learns them while it runs, and what was given stays given."""
    redactor = Redactor([], Pseudonyms(("alice-laptop",)))
    assert redactor.text("alice-laptop and bobs-phone") == "host-1 and bobs-phone"
    redactor.know(["bobs-phone", "alice-laptop"])
    assert redactor.text("bobs-phone and alice-laptop") == "host-2 and host-1"


def mesh(peers: int, *, twice: bool = False) -> Report:
    """A good report about many peers. twice: with each result another time, in the other direction."""
    directions = (Direction.FORWARD, Direction.REVERSE) if twice else (Direction.FORWARD,)
    return build_report(
        tuple(
            passed(f"node-{n}", direction, f"node-{n} (10.66.{n // 250}.{n % 250}) answers, see http://u:p@node-{n}/")
            for n in range(peers)
            for direction in directions
        ),
        (),
        node=NodeInfo(hostname="alice-laptop", os="Debian", kernel="6.1.0.10", python="3.11.2.1"),
        overlay=None,
        started_at=datetime(2026, 11, 23, tzinfo=UTC),
        duration_ms=1,
        gate=Gate(),
    )


def test_the_work_grows_with_the_report_and_not_with_the_names() -> None:
    """One pass for each name or secret takes minutes for a large mesh; what repeats is looked at once."""

    def work(peers: int, *, twice: bool = False) -> int:
        report = mesh(peers, twice=twice)
        redactor = Redactor(["s3cret-token"], Pseudonyms([f"node-{n}" for n in range(peers)]))
        return calls(lambda: redactor.report(report))

    once = work(100)
    assert work(200) < 2.3 * once
    names = [f"other-{n}" for n in range(2000)]
    few, many = mesh(50), Redactor([], Pseudonyms(names))
    assert calls(lambda: many.report(few)) < 1.1 * calls(lambda: Redactor([], Pseudonyms(["x"])).report(few))


def test_every_shape_is_found_wherever_it_stands_among_many_texts() -> None:
    """One look at all texts finds those that have one, also behind a key without an end."""
    shapes = ["Bearer abcdefgh12", JWT, "http://u:hunter2@x/", "?token=abcdef", "tskey-auth-abc", "privkey:" + "0a" * 9]
    texts = ["fine", "-----BEGIN PRIVATE KEY----- MIIB", *shapes, "fine", "PrivateKey = " + "A" * 43 + "=", *shapes]
    redactor = Redactor([])
    one_by_one = [redactor.text(text) for text in texts]
    together = redactor.field("data", texts, "events")
    assert together == one_by_one
    assert [text for text in together if GONE not in text] == ["fine", "fine"]
