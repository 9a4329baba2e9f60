"""Any bytes and any report of a peer are read or refused, and give a verdict."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preflight_checks import reach_udp, udp_quality

from preflight.api import Peer, Status
from preflight.model.path import PeerReport
from preflight.proto.core import Received
from preflight.proto.pmtu import wire as probe
from preflight.proto.responder import hello, mailbox_probe
from preflight.proto.responder import reverse_trace as trace
from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stamp.sender import SessionPlan, SessionSender
from preflight.proto.stun import binding as stun
from preflight.proto.stun import nat
from preflight.settings.schema import Thresholds

KEY = b"a key that only tests know"
PEER = Peer("10.66.0.2", "b")
NOW_NS = 1_795_479_667_000_000_000


PARSERS: dict[str, Callable[[bytes], object]] = {
    "stamp-answer": stamp.parse_answer,
    "signed-stamp-answer": partial(stamp.parse_answer, key=KEY),
    "stamp-request": stamp.parse_request,
    "stamp-tlvs": lambda data: [stamp_tlv.read_drops(tlv) for tlv in stamp_tlv.parse(data)],
    "path-mtu": lambda data: (probe.decode(data), probe.decode(probe.MAGIC + data)),
    "path-mtu-quoted": lambda data: probe.quoted_number(data, bytes(probe.TOKEN_BYTES)),
    "nat": lambda data: (nat.decode(data, None), nat.decode(nat.MAGIC + data, None)),
    "trace": lambda data: (trace.decode(data), trace.decode(trace.MAGIC + data)),
    "hello": lambda data: (hello.decode(data, KEY), hello.decode(hello.MAGIC + data, KEY)),
    "stun": lambda data: stun.mapped_address(b"\x01\x01" + data[:2] + stun.COOKIE + data, data[:12]),
    "mailbox-probe": lambda data: mailbox_probe.probe_number(data, bytes(mailbox_probe.NONCE_BYTES)),
    "mailbox-result": lambda data: mailbox_probe.decode_result(data.decode("utf-8", "replace"), None),
}


REFUSALS = (stamp.StampError, hello.HelloError, stun.StunError, mailbox_probe.PayloadError)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    """Whatever bytes a peer sends, a parser gives what they say or refuses them: it breaks no check."""
    with suppress(*REFUSALS):
        PARSERS[name](data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(10**400, 10**401) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


REPORT = {"nonce": bytes(16).hex(), "refusal": "", "received": 9, "elsewhere": 0, "refused": {}, "sent": 10}


@pytest.mark.parametrize("key", [None, KEY], ids=["unsigned", "signed"])
@settings(max_examples=100, deadline=None)
@given(
    field=st.sampled_from([*REPORT, "send_errors", "way", "overflowed", "observed", "tunnel", "version", "x"]),
    value=json_values,
)
def test_absurd_reports_by_mailbox_are_bad_input(key: bytes | None, field: str, value: object) -> None:
    """A report with any value in any field, four hundred digits too, is taken within its bounds or refused."""
    body = {**REPORT, "send_errors": {}, field: value}
    with suppress(mailbox_probe.PayloadError):
        decoded = mailbox_probe.decode_result(mailbox_probe._seal(body, mailbox_probe.RESULT_TYPE, key), key)
        assert 0 <= decoded.report.received <= 2**31
        assert decoded.refusal.isprintable()


@pytest.mark.parametrize(
    ("report", "credible"),
    [
        (PeerReport(10, 10), True),
        (PeerReport(40, 10), True),
        (PeerReport(41, 10), False),
        (PeerReport(2**31, 10), False),
        (PeerReport(5, 10, elsewhere=2**31), False),
    ],
)
def test_a_report_that_counts_too_much_does_not_count(report: PeerReport, credible: bool) -> None:
    """A peer that got more packets than a session can have says nothing about either direction."""
    assert (mailbox_probe.implausible(report, 10) == "") is credible


def test_a_nested_report_is_refused() -> None:
    """Brackets within brackets, as many as fit, end in a refusal."""
    for depth in range(100, 2000, 7):
        with pytest.raises(mailbox_probe.PayloadError):
            mailbox_probe.decode_result('{"version": 1, "hmac": "00", "x": ' + "[" * depth + "]" * depth + "}", KEY)


changes = st.lists(
    st.tuples(st.integers(0, 11), st.integers(0, 43), st.binary(min_size=1, max_size=9), st.integers(0, 3)),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(changes)
def test_any_answers_give_a_verdict(changed: list[tuple[int, int, bytes, int]]) -> None:
    """A session of answers with any bytes in any place, in any order and number, is judged, by sane numbers."""
    core, answers = SessionReflector(), []
    sender = SessionSender(SessionPlan(7, 12, 0.0), 0.0, count(NOW_NS, 10**7).__next__)
    for _ in range(12):
        (datagram,) = sender.datagrams_to_send(0.0)
        sender.sent(datagram, 0.0)
        answers.append(core.handle(datagram.data, ("10.66.0.1", 1), received_ns=NOW_NS, transmitted_ns=NOW_NS, ttl=9))
    for number, place, value, copies in changed:
        answer = answers[number]
        for _ in range(copies):
            data = answer[:place] + value + answer[place + len(value) :]
            sender.receive(Received(data, received_ns=NOW_NS + 2 * 10**8), 0.0)
    stats = sender.stats()
    results = [*udp_quality.judge(PEER, stats, Thresholds()), *reach_udp.judge(PEER, reach_udp.Reached(stats, stats))]
    for result in results:
        assert (result.status is Status.PASS) == (result.code is None)
        numbers = [value for value in result.measurements.values() if isinstance(value, float)]
        assert all(isfinite(value) and abs(value) < 10**12 for value in numbers), result
    assert all(0 <= rtt_ms < 10**6 for rtt_ms in stats.rtt_ms)
