"""The payloads of asking by mailbox: read as written, signed, fresh, and never trusted further than that."""

import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model.path import PeerReport
from preflight.model.return_path import ReturnPath
from preflight.proto.responder import mailbox_probe
from preflight.proto.responder.mailbox_probe import PayloadError, ProbeRequest, ProbeResult, ReplayGuard

KEY = b"0123456789abcdef"
NOW_MS = 1_795_479_667_927
REQUEST = ProbeRequest(
    nonce=bytes(range(16)),
    created_unix_ms=NOW_MS,
    sender="1",
    receiver="2",
    address="10.66.0.1",
    port=40000,
    ssid=77,
    count=10,
    interval_ms=10,
)
REPORT = PeerReport(received=3, sent=9, elsewhere=1, refused={"bad-hmac": 2}, send_errors={"EPERM": 1})
WAY = ReturnPath("wg0", "eth0", "192.0.2.1", rp_filter=1, refuses=True, dropped=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def test_request_round_trip() -> None:
    """A request is read as it was written, and counts as signed only with the key."""
    assert mailbox_probe.decode_request(mailbox_probe.encode_request(REQUEST, None), None) == (REQUEST, False)
    assert mailbox_probe.decode_request(mailbox_probe.encode_request(REQUEST, KEY), KEY) == (REQUEST, True)
    assert mailbox_probe.decode_request(mailbox_probe.encode_request(REQUEST, KEY), None) == (REQUEST, False)
    assert mailbox_probe.decode_request(mailbox_probe.encode_request(REQUEST, None), KEY) == (REQUEST, False)
    assert mailbox_probe.decode_request(mailbox_probe.encode_request(REQUEST, KEY), b"another key of 16") == (
        REQUEST,
        False,
    )


def test_result_round_trip() -> None:
    """A result is read as it was written; a node with a key takes only a signed one."""
    result = ProbeResult(REQUEST.nonce, REPORT)
    assert mailbox_probe.decode_result(mailbox_probe.encode_result(result, KEY), KEY) == result
    assert mailbox_probe.decode_result(mailbox_probe.encode_result(result, KEY), None) == result
    for key in (None, b"another key of 16"):
        with pytest.raises(PayloadError, match="not signed"):
            mailbox_probe.decode_result(mailbox_probe.encode_result(result, key), KEY)


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("way", [WAY, ReturnPath(), ReturnPath("wg0", "wg0", "fd66::9")])
def test_what_came_later_is_read_where_it_is_reported(key: bytes | None, way: ReturnPath) -> None:
    """The address to which the node sends, and the peer's way back, are read as written; signed like all the rest."""
    request = replace(REQUEST, to="10.66.0.2")
    assert mailbox_probe.decode_request(mailbox_probe.encode_request(request, key), key) == (request, key is not None)
    result = ProbeResult(REQUEST.nonce, replace(REPORT, way=way))
    assert mailbox_probe.decode_result(mailbox_probe.encode_result(result, key), key) == result


def test_an_older_node_and_an_older_peer_are_understood() -> None:
    """A payload without the later fields is whole, and a reader that does not know a field skips it."""
    assert "to" not in json.loads(mailbox_probe.encode_request(REQUEST, None))
    assert "way" not in json.loads(mailbox_probe.encode_result(ProbeResult(REQUEST.nonce, REPORT), None))
    newer = json.loads(mailbox_probe.encode_request(REQUEST, None)) | {"a_field_of_the_future": [1]}
    assert mailbox_probe.decode_request(json.dumps(newer), None) == (REQUEST, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arrival", "wg0; reboot"),
        ("arrival", "-w"),
        ("arrival", "wg0\n"),
        ("arrival", "a-name-of-16-bytes"),
        ("interface", "eth0 #"),
        ("interface", 5),
        ("gateway", "$(reboot)"),
        ("rp_filter", 3),
        ("rp_filter", True),
        ("dropped", -1),
    ],
)
def test_nothing_odd_gets_into_a_line_to_paste(name: str, value: object) -> None:
    """What a peer says of itself ends up in remedies: names of interfaces, addresses and small numbers, or nothing."""
    body = json.loads(mailbox_probe.encode_result(ProbeResult(REQUEST.nonce, replace(REPORT, way=WAY)), None))
    body["way"][name] = value
    with pytest.raises(PayloadError):
        mailbox_probe.decode_result(json.dumps(body), None)


def test_a_signature_covers_every_field_and_the_type() -> None:
    """Nothing of a signed request can be changed, and it is not good as a result."""
    body = json.loads(mailbox_probe.encode_request(REQUEST, KEY))
    for name, other in {"address": "10.66.0.9", "port": 53, "receiver": "3", "count": 1, "nonce": "ff" * 16}.items():
        assert mailbox_probe.decode_request(json.dumps(body | {name: other}), KEY)[1] is False
    with pytest.raises(PayloadError):
        mailbox_probe.decode_result(mailbox_probe.encode_request(REQUEST, KEY), KEY)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 2),
        ("nonce", "abc"),
        ("nonce", "00" * 15),
        ("nonce", 5),
        ("address", "b.example"),
        ("address", None),
        ("to", "b.example"),
        ("to", "fd66::2"),
        ("port", 0),
        ("port", 65536),
        ("port", True),
        ("ssid", 0),
        ("count", mailbox_probe.MAX_COUNT + 1),
        ("interval_ms", 0),
        ("interval_ms", 10_000),
        ("sender", "x"),
        ("sender", "²"),
        ("receiver", ""),
        ("created_unix_ms", "now"),
    ],
)
def test_malformed_requests(name: str, value: object) -> None:
    """What is out of range is refused: a request cannot make a responder send much, long, or anywhere odd."""
    body = json.loads(mailbox_probe.encode_request(REQUEST, None))
    with pytest.raises(PayloadError):
        mailbox_probe.decode_request(json.dumps(body | {name: value}), None)
    if name == "to":
        return
    del body[name]
    with pytest.raises(PayloadError):
        mailbox_probe.decode_request(json.dumps(body), None)


@settings(deadline=None)
@given(st.text(max_size=200) | json_values.map(json.dumps), st.sampled_from([None, KEY]))
def test_random_payloads(payload: str, key: bytes | None) -> None:
    """Whatever is in a mailbox is a payload or a PayloadError."""
    for decode in (mailbox_probe.decode_request, mailbox_probe.decode_result):
        with suppress(PayloadError):
            decode(payload, key)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*json.loads(mailbox_probe.encode_result(ProbeResult(bytes(16)), KEY)), "to", "way"]),
        json_values,
    )
)
def test_random_fields(changes: dict[str, object]) -> None:
    """Any value in any field is read or refused."""
    for text, decode in (
        (mailbox_probe.encode_request(REQUEST, KEY), mailbox_probe.decode_request),
        (mailbox_probe.encode_result(ProbeResult(bytes(16), REPORT), None), mailbox_probe.decode_result),
    ):
        with suppress(PayloadError):
            decode(json.dumps(json.loads(text) | changes), KEY)


def test_long_payloads_are_refused_unread() -> None:
    """A payload is bounded."""
    with pytest.raises(PayloadError, match="too long"):
        mailbox_probe.decode_request("[" * 100_000, None)


def test_freshness() -> None:
    """An old request is refused with its age; one of a clock a little ahead is not."""
    guard = ReplayGuard()
    assert guard.refusal(REQUEST, NOW_MS) == ""
    old = replace(REQUEST, nonce=bytes(16), created_unix_ms=NOW_MS - 600_000)
    assert "600 s old" in guard.refusal(old, NOW_MS)
    assert guard.refusal(replace(old, created_unix_ms=NOW_MS + 60_000), NOW_MS) == ""


def test_a_replay_is_refused_for_as_long_as_it_would_be_fresh() -> None:
    """The same request is acted on once, also when it was made by a clock that is ahead."""
    guard = ReplayGuard()
    ahead = replace(REQUEST, created_unix_ms=NOW_MS + 100_000)
    assert guard.refusal(ahead, NOW_MS) == ""
    for later_ms in (0, 50_000, 150_000, 219_000):
        with pytest.raises(PayloadError, match="seen before"):
            guard.refusal(ahead, NOW_MS + later_ms)
    assert "old" in guard.refusal(ahead, NOW_MS + 221_000)


def test_freshness_is_bounded() -> None:
    """Endless nonces cannot fill the memory, nor push out one that may be replayed."""
    guard = ReplayGuard()
    guard.refusal(REQUEST, NOW_MS)
    refusals = [
        guard.refusal(replace(REQUEST, nonce=number.to_bytes(16)), NOW_MS)
        for number in range(1, mailbox_probe._MAX_NONCES + 10)
    ]
    assert refusals[-1] == "too many requests"
    with pytest.raises(PayloadError):
        guard.refusal(REQUEST, NOW_MS)
    assert guard.refusal(replace(REQUEST, nonce=b"x" * 16, created_unix_ms=NOW_MS + 300_000), NOW_MS + 300_000) == ""


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_probes(data: bytes) -> None:
    """A probe is known by its nonce, and nothing else is taken for one."""
    assert mailbox_probe.probe_number(mailbox_probe.probe(REQUEST.nonce, 7), REQUEST.nonce) == 7
    assert mailbox_probe.probe_number(mailbox_probe.probe(bytes(16), 7), REQUEST.nonce) is None
    assert mailbox_probe.probe_number(data, REQUEST.nonce) is None
