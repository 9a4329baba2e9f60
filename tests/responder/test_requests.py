"""Requests from the mailbox: whose are carried out, and what the report about a session holds."""

from dataclasses import replace

import pytest

from preflight.proto.responder.mailbox_probe import FRESH_S, ProbeRequest, encode_request
from preflight.responder.requests import REQUEST_BURST, Requests
from tests.responder.test_core import KEY, NODE, NOW_MS, NOW_NS, core, send, stamp_packet

REQUEST = ProbeRequest(
    nonce=bytes(16),
    created_unix_ms=NOW_MS,
    sender="1",
    receiver="2",
    address=NODE[0],
    port=NODE[1],
    ssid=7,
    count=10,
    interval_ms=10,
)


def test_report() -> None:
    """The peer learns what came, what was refused and what could not be sent, of its own address only."""
    responder = core(KEY)
    for _ in range(3):
        send(responder, stamp_packet())
    send(responder, stamp_packet(b"another key of 16"))
    send(responder, stamp_packet(b"another key of 16"), ("10.66.0.9", 1))
    send(responder, stamp_packet(), ("10.66.0.8", 1))
    responder.unsent(NODE[0], "EPERM", 0.0)
    requests = Requests(responder, KEY, "2", 0.0)
    report = requests.report(REQUEST, 8, {"EPERM": 2}, now=1.0, now_ns=NOW_NS)
    assert (report.received, report.elsewhere, report.sent) == (3, 1, 8)
    assert (report.refused, report.send_errors) == ({"bad-hmac": 1}, {"EPERM": 3})
    later = requests.report(REQUEST, 0, {}, now=1000.0, now_ns=NOW_NS)
    assert (later.refused, later.send_errors) == ({}, {})


@pytest.mark.parametrize(
    ("key", "signed", "change", "refusal"),
    [
        (None, None, {}, ""),
        (None, None, {"address": "198.51.100.1"}, "198.51.100.1 is not provisioned at this responder, and it has no"),
        (KEY, None, {"address": "198.51.100.1"}, "198.51.100.1 is not provisioned at this responder, and the request"),
        (KEY, KEY, {"address": "198.51.100.1"}, ""),
        (KEY, None, {}, ""),
        (None, None, {"created_unix_ms": NOW_MS - 600_000}, "the request is 600 s old"),
        (None, None, {"receiver": "3"}, None),
        (None, None, {"sender": "9"}, None),
    ],
)
def test_orders(key: bytes | None, signed: bytes | None, change: dict[str, object], refusal: str | None) -> None:
    """Probes go only to provisioned addresses or on a signed request; other mailboxes' requests are not ours."""
    request = replace(REQUEST, **change)  # type: ignore[arg-type]
    order = Requests(core(key), key, "2", 0.0).order(encode_request(request, signed), "1", NOW_MS)
    if refusal is None:
        assert order is None
    else:
        assert order is not None
        assert order.refusal.startswith(refusal)
        assert bool(order.refusal) == bool(refusal)


def test_a_replayed_order_is_ignored() -> None:
    """A host that replays a request learns nothing and makes nobody send."""
    requests = Requests(core(KEY), KEY, "2", 0.0)
    payload = encode_request(REQUEST, KEY)
    assert requests.order(payload, "1", NOW_MS) is not None
    assert requests.order(payload, "1", NOW_MS + int(FRESH_S * 500)) is None
    assert requests.order("not JSON", "1", NOW_MS) is None


def test_requests_are_rate_limited() -> None:
    """A mailbox full of requests cannot make the responder a sender."""
    requests = Requests(core(), None, "2", 0.0)
    assert sum(requests.ready(0.0) for _ in range(100)) == REQUEST_BURST
    assert sum(requests.ready(1.0) for _ in range(100)) == 2
