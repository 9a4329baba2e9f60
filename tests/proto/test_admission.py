"""Who may ask, how often, and in how much memory."""

from ipaddress import ip_network

import pytest

from preflight.proto import admission
from preflight.proto.admission import Admission, Ledger, Limits, TokenBucket, Verdict

PREFIXES = [ip_network("10.66.0.0/24"), ip_network("fd66::/64"), ip_network("192.0.2.7")]


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("10.66.0.9", Verdict.ALLOWED),
        ("10.66.1.9", Verdict.STRANGER),
        ("fd66::9", Verdict.ALLOWED),
        ("fd67::9", Verdict.STRANGER),
        ("fe80::1%wg0", Verdict.STRANGER),
        ("192.0.2.7", Verdict.ALLOWED),
        ("192.0.2.8", Verdict.STRANGER),
    ],
)
def test_prefixes(address: str, verdict: Verdict) -> None:
    """Only provisioned prefixes are allowed, in both families."""
    assert Admission(PREFIXES, Limits(), 0.0).judge(address, 0.0) is verdict


def test_token_bucket() -> None:
    """A burst is granted at once, then no more than the rate."""
    bucket = TokenBucket(10.0, 5.0, 0.0)
    assert sum(bucket.take(0.0) for _ in range(20)) == 5
    assert sum(bucket.take(1.0) for _ in range(20)) == 5
    assert sum(bucket.take(1.0 + step / 100) for step in range(1, 101)) == 10


def test_a_noisy_source_does_not_silence_the_others() -> None:
    """Limits are by source; what one sends too much is dropped, and only that."""
    judge = Admission(PREFIXES, Limits(source_per_s=100.0), 0.0)
    verdicts = [judge.judge("10.66.0.1", 0.0) for _ in range(100)]
    assert verdicts.count(Verdict.ALLOWED) == 20
    assert verdicts[-1] is Verdict.LIMITED
    assert judge.judge("10.66.0.2", 0.0) is Verdict.ALLOWED


def test_all_sources_together_are_limited() -> None:
    """Many sources, each within its rate, do not get more than twice what one may have."""
    judge = Admission(PREFIXES, Limits(source_per_s=100.0), 0.0)
    verdicts = [judge.judge(f"10.66.0.{number}", 0.0) for number in range(200)]
    assert verdicts.count(Verdict.ALLOWED) == 40


def test_strangers_cannot_use_up_what_peers_are_given() -> None:
    """A flood from made-up addresses is limited by itself; who is provisioned gets all that it may have."""
    judge = Admission(PREFIXES, Limits(source_per_s=100.0), 0.0)
    strangers = [judge.judge(f"198.51.{number >> 8}.{number & 255}", 0.0) for number in range(1000)]
    assert strangers.count(Verdict.STRANGER) == 20
    assert [judge.judge("10.66.0.1", 0.0) for _ in range(20)] == [Verdict.ALLOWED] * 20


def test_tables_are_bounded() -> None:
    """Made-up addresses cannot fill the memory."""
    judge, ledger = Admission(PREFIXES, Limits(), 0.0), Ledger()
    for number in range(2 * admission.MAX_SOURCES):
        address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        judge.judge(address, float(number))
        ledger.note(address, "not-allowed", float(number))
    assert len(judge._sources) == admission.MAX_SOURCES
    assert len(ledger._sources) == admission.MAX_SOURCES
    assert ledger.total == {"not-allowed": 2 * admission.MAX_SOURCES}
    assert ledger.recent("10.0.0.0", 0.0) == {}


def test_the_ledger_knows_what_is_recent() -> None:
    """What was refused long ago says nothing about the session that is asked about now."""
    ledger = Ledger()
    ledger.note("10.66.0.1", "bad-hmac", 100.0)
    ledger.note("10.66.0.1", "bad-hmac", 130.0)
    assert ledger.recent("10.66.0.1", 120.0) == {"bad-hmac": 2}
    assert ledger.recent("10.66.0.1", 131.0) == {}
    assert ledger.recent("10.66.0.2", 0.0) == {}
