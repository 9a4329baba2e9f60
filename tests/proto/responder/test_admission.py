"""Which sources may ask, how often, and in how much memory."""

from ipaddress import ip_network

import pytest

from preflight.proto.responder import admission
from preflight.proto.responder.admission import Admission, Ledger, Limits, TokenBucket, Verdict

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


def admitted(limit: float = 100.0, *, sources: int = 0) -> Admission:
    """An admission that lets 20 packets of one source come at once; it knows this many sources of 10.66.0.0/24."""
    judge = Admission(PREFIXES, Limits(source_per_s=limit), 0.0)
    for number in range(sources):
        # As far apart as to leave every bucket full.
        assert judge.judge(f"10.66.0.{number}", number * 10.0) is Verdict.ALLOWED
    return judge


def test_one_source_has_its_rate() -> None:
    """What one sends too much is dropped, and only that."""
    judge = admitted(sources=2)
    verdicts = [judge.judge("10.66.0.0", 100.0) for _ in range(100)]
    assert verdicts.count(Verdict.ALLOWED) == 20
    assert verdicts[-1] is Verdict.LIMITED


def test_a_noisy_peer_takes_nothing_from_a_quiet_one() -> None:
    """However much some send, a source that keeps to a quarter of the rate is served."""
    judge = admitted(sources=40)
    now = 1000.0
    quiet = []
    for step in range(100):
        for noisy in range(1, 40):
            for _ in range(5):
                judge.judge(f"10.66.0.{noisy}", now + step / 25)
        quiet.append(judge.judge("10.66.0.0", now + step / 25))
    assert quiet.count(Verdict.ALLOWED) >= 90  # until it is clear who is noisy, all count as quiet


def test_all_together_are_limited() -> None:
    """All sources, known or not, get no more in a second than five times the rate of one."""
    judge = admitted(sources=200)
    judge.proven("198.51.100.1", 4000.0)
    places = [f"10.66.0.{number}" for number in range(256)] + [f"198.51.100.{number}" for number in range(200)]
    let_in = sum(
        judge.judge(place, 5000.0 + step / 100) is not Verdict.LIMITED for step in range(100) for place in places
    )
    assert let_in <= 5 * 100 * (1 + Limits().burst_s)


def test_strangers_cannot_use_up_what_peers_are_given() -> None:
    """A flood from made-up addresses is limited by itself; known, new and proven ones get all that they may have."""
    judge = admitted(sources=1)
    judge.proven("203.0.113.1", 100.0)
    strangers = [judge.judge(f"198.51.{number >> 8}.{number & 255}", 100.0) for number in range(1000)]
    assert strangers.count(Verdict.STRANGER) == 10
    assert judge.judge("10.66.0.0", 100.0) is Verdict.ALLOWED
    assert judge.judge("10.66.0.1", 100.0) is Verdict.ALLOWED
    assert judge.judge("203.0.113.1", 100.0) is Verdict.STRANGER


def test_newcomers_cannot_use_up_what_known_peers_are_given() -> None:
    """A flood from made-up addresses of a provisioned prefix: earlier sources are served."""
    judge = admitted(sources=1)
    newcomers = [judge.judge(f"fd66::{number:x}", 100.0) for number in range(1000)]
    assert newcomers.count(Verdict.ALLOWED) == 10
    assert judge.judge("10.66.0.0", 100.0) is Verdict.ALLOWED


def test_tables_are_bounded() -> None:
    """Made-up addresses cannot fill the memory, and recent sources are remembered."""
    judge, ledger = Admission([ip_network("10.0.0.0/8")], Limits(), 0.0), Ledger()
    for number in range(2 * admission.MAX_SOURCES):
        address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        judge.judge(address, float(number))
        ledger.note(address, "not-allowed", float(number))
    assert len(judge._sources) == admission.MAX_SOURCES
    assert len(ledger._sources) == admission.MAX_SOURCES
    assert ledger.total == {"not-allowed": 2 * admission.MAX_SOURCES}
    assert ledger.recent("10.0.0.0", 0.0) == {}
    judge.judge(address, 0.0)
    assert next(reversed(judge._sources)) == address


def test_the_ledger_knows_what_is_recent() -> None:
    """What was refused long ago says nothing about the session that is asked about now."""
    ledger = Ledger()
    ledger.note("10.66.0.1", "bad-hmac", 100.0)
    ledger.note("10.66.0.1", "bad-hmac", 130.0)
    assert ledger.recent("10.66.0.1", 120.0) == {"bad-hmac": 2}
    assert ledger.recent("10.66.0.1", 131.0) == {}
    assert ledger.recent("10.66.0.2", 0.0) == {}
