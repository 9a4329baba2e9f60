"""Asking a peer's responder through the control plane's mailbox, when the path itself is silent: the payloads, pure.

The node delivers a `ProbeRequest` to the mailbox of the peer; its responder says in a `ProbeResult` what it received
of the node's STAMP session, and sends probes back. With a shared key both are signed, and a node accepts no others.
Later fields are optional: a node that does not know one skips it, and knows less without it.
"""

import hmac
import json
import re
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from typing import Any

from preflight.model import parameters
from preflight.model.path import PeerReport
from preflight.model.return_path import INTERFACE_NAME, ReturnPath
from preflight.proto.responder.observed import decode as decode_observed
from preflight.proto.responder.observed import decode_tunnel, encode_tunnel
from preflight.proto.responder.observed import encode as encode_observed

REQUEST_TYPE = "preflight.probe-request"
RESULT_TYPE = "preflight.probe-result"
VERSION = 1
FRESH_S = 120.0
"""Older requests are refused: long enough for two clocks that differ a little, short enough to remember all nonces."""
MAX_COUNT = 20
MIN_INTERVAL_MS = 5
MAX_INTERVAL_MS = 100
ASKER_INTERVAL_S = 0.25
"""While it waits for the result, the node goes on to send to the responder, one packet each time."""
NONCE_BYTES = 16
MAX_PAYLOAD = 4096
_MAX_NONCES = 4096

MOST_COPIES = 4
"""At most this many copies of each packet may arrive, on average; a report of more does not count."""
_WORD = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""The name of a count: a reason, or an errno."""

PROBE_MAGIC = b"\xf6PRB"
_PROBE = struct.Struct("!4s16sI")
PROBE_BYTES = _PROBE.size


class PayloadError(ValueError):
    """A payload to ignore; the text says why, for a log."""


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """The node's question: what arrived of its session, and do probes to its socket arrive?

    sender, receiver: mailboxes (agent ids). address, port: the node's socket on the overlay. ssid: of its session.
    count: probes to send, interval_ms apart. created_unix_ms: by the node's clock. to: the peer's address that
    the node sends to, None in requests of older nodes. public_key: of the node's end of the tunnel; None where it has
    none, or cannot read it.
    """

    nonce: bytes
    created_unix_ms: int
    sender: str
    receiver: str
    address: str
    port: int
    ssid: int
    count: int
    interval_ms: int
    to: str | None = None
    public_key: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The answer to the request with this nonce; `refusal` instead of a report where the responder did not act."""

    nonce: bytes
    report: PeerReport = field(default_factory=lambda: PeerReport(received=0, sent=0))
    refusal: str = ""


def probe(nonce: bytes, number: int) -> bytes:
    """A datagram that the responder sends to the node's socket."""
    return _PROBE.pack(PROBE_MAGIC, nonce, number)


def probe_number(data: bytes, nonce: bytes) -> int | None:
    """The number of a probe that answers the request with this nonce; None for everything else."""
    if len(data) != _PROBE.size or not data.startswith(PROBE_MAGIC):
        return None
    _, carried, number = _PROBE.unpack(data)
    return number if hmac.compare_digest(carried, nonce) else None


def encode_request(request: ProbeRequest, key: bytes | None) -> str:
    """The payload of a `preflight.probe-request`."""
    return _seal(
        {
            "created_unix_ms": request.created_unix_ms,
            "nonce": request.nonce.hex(),
            "sender": request.sender,
            "receiver": request.receiver,
            "address": request.address,
            "port": request.port,
            "ssid": request.ssid,
            "count": request.count,
            "interval_ms": request.interval_ms,
            **({"to": request.to} if request.to is not None else {}),
            **({"public_key": request.public_key} if request.public_key is not None else {}),
        },
        REQUEST_TYPE,
        key,
    )


def decode_request(payload: str, key: bytes | None) -> tuple[ProbeRequest, bool]:
    """Read a request, and whether it is signed with the shared key. Raises PayloadError for what is malformed."""
    body, signed = _open(payload, REQUEST_TYPE, key)
    request = ProbeRequest(
        nonce=_nonce(body),
        created_unix_ms=_integer(body, "created_unix_ms", 0, 2**63),
        sender=_agent(body, "sender"),
        receiver=_agent(body, "receiver"),
        address=_address(body, "address"),
        port=_integer(body, "port", 1, 65535),
        ssid=_integer(body, "ssid", 1, 65535),
        count=_integer(body, "count", 0, MAX_COUNT),
        interval_ms=_integer(body, "interval_ms", MIN_INTERVAL_MS, MAX_INTERVAL_MS),
        to=_address(body, "to") if "to" in body else None,
        public_key=_key(body, "public_key") if "public_key" in body else None,
    )
    if request.to is not None and (":" in request.to) != (":" in request.address):
        raise PayloadError("to and address are of different families")
    return request, signed


def encode_result(result: ProbeResult, key: bytes | None) -> str:
    """The payload of a `preflight.probe-result`: with all that was observed, or as much of it as there is room for."""
    report = result.report
    observed = encode_observed(report.observed)
    body = {
        "nonce": result.nonce.hex(),
        "refusal": result.refusal,
        "received": report.received,
        "elsewhere": report.elsewhere,
        "refused": dict(report.refused),
        "sent": report.sent,
        "send_errors": dict(report.send_errors),
        "overflowed": min(report.overflowed, 2**31),
        **({"way": asdict(report.way)} if report.way is not None else {}),
        **({"tunnel": encode_tunnel(report.tunnel)} if report.tunnel is not None else {}),
    }
    while observed:
        payload = _seal({**body, "observed": observed}, RESULT_TYPE, key)
        if len(payload) <= MAX_PAYLOAD:
            return payload
        observed = observed[:-1]
    return _seal(body, RESULT_TYPE, key)


def decode_result(payload: str, key: bytes | None) -> ProbeResult:
    """Read a result; with a key only a signed one. Raises PayloadError."""
    body, signed = _open(payload, RESULT_TYPE, key)
    if key is not None and not signed:
        raise PayloadError("the result is not signed with the shared key")
    refusal = body.get("refusal")
    if not isinstance(refusal, str):
        raise PayloadError("refusal is not text")
    report = PeerReport(
        received=_integer(body, "received", 0, 2**31),
        elsewhere=_integer(body, "elsewhere", 0, 2**31),
        refused=_counts(body, "refused"),
        sent=_integer(body, "sent", 0, MAX_COUNT),
        send_errors=_counts(body, "send_errors"),
        way=_way(body["way"]) if isinstance(body.get("way"), dict) else None,
        overflowed=_integer(body, "overflowed", 0, 2**31) if "overflowed" in body else 0,
        observed=decode_observed(body.get("observed")),
        tunnel=decode_tunnel(body.get("tunnel")),
    )
    words = "".join(letter if letter.isprintable() else "?" for letter in refusal[:200])
    return ProbeResult(_nonce(body), report, words)


def implausible(report: PeerReport, sent: int) -> str:
    """Why a report cannot be about a session of `sent` packets, or an empty string."""
    counted = report.received + report.elsewhere
    if counted <= MOST_COPIES * sent:
        return ""
    return f"its responder says that it got {counted} packets of a session of {sent}, which is impossible"


class ReplayGuard:
    """Refuses requests that are old, or were seen before. Remembers only nonces that can be fresh, up to a bound."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def refusal(self, request: ProbeRequest, now_unix_ms: int) -> str:
        """Why not to act on the request; empty: act, the request is then spent. Raises PayloadError for a replay."""
        age_s = (now_unix_ms - request.created_unix_ms) / 1000
        if abs(age_s) > FRESH_S:
            return f"the request is {age_s:.0f} s old by this node's clock, at most {FRESH_S:.0f} s are accepted"
        while self._seen and next(iter(self._seen.values())) < now_unix_ms:
            self._seen.popitem(last=False)
        if request.nonce in self._seen:
            raise PayloadError("the request was seen before")
        if len(self._seen) >= _MAX_NONCES:
            return "too many requests"
        # A request made by a clock that is ahead stays fresh for longer than one made now.
        self._seen[request.nonce] = now_unix_ms + int(2 * FRESH_S * 1000)
        return ""


def _seal(body: dict[str, Any], kind: str, key: bytes | None) -> str:
    body |= {"version": VERSION}
    if key is not None:
        body["hmac"] = _digest(body, kind, key)
    return json.dumps(body, sort_keys=True)


def _open(payload: str, kind: str, key: bytes | None) -> tuple[dict[str, Any], bool]:
    if len(payload) > MAX_PAYLOAD:
        raise PayloadError("the payload is too long")
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        raise PayloadError("the payload is not JSON") from None
    if not isinstance(body, dict):
        raise PayloadError("the payload is not an object")
    if body.get("version") != VERSION:
        raise PayloadError(f"the payload's version is not {VERSION}")
    carried = body.pop("hmac", None)
    if key is None or not isinstance(carried, str) or not carried.isascii():
        return body, False
    try:
        return body, hmac.compare_digest(carried, _digest(body, kind, key))
    except RecursionError:  # JSON can be read at a nesting depth at which it can no longer be written
        raise PayloadError("the payload is nested too deep") from None


def _digest(body: Mapping[str, Any], kind: str, key: bytes) -> str:
    """The signature covers the type too, so that a request never passes as a result."""
    text = json.dumps([kind, body], sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def _nonce(body: Mapping[str, Any]) -> bytes:
    try:
        nonce = bytes.fromhex(body["nonce"])
    except (KeyError, TypeError, ValueError):
        raise PayloadError("nonce is not in hexadecimal") from None
    if len(nonce) != NONCE_BYTES:
        raise PayloadError(f"nonce has {len(nonce)} bytes instead of {NONCE_BYTES}")
    return nonce


def _integer(body: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise PayloadError(f"{name} is not a number from {least} to {most}")
    return value


def _agent(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not (value.isascii() and value.isdigit() and len(value) <= 32):
        raise PayloadError(f"{name} is not an agent id")
    return value


def _address(body: Mapping[str, Any], name: str) -> str:
    try:
        return str(ip_address(str(body.get(name))))
    except ValueError:
        raise PayloadError(f"{name} is not an IP address") from None


def _key(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    try:
        parameters.key(str(value))
    except ValueError:
        raise PayloadError(f"{name} is not a public key") from None
    return str(value)


def _way(reported: Mapping[str, Any]) -> ReturnPath:
    def optional(name: str, most: int) -> int | None:
        return None if reported.get(name) is None else _integer(reported, name, 0, most)

    return ReturnPath(
        arrival=_interface(reported, "arrival"),
        interface=_interface(reported, "interface"),
        gateway=None if reported.get("gateway") is None else _address(reported, "gateway"),
        rp_filter=optional("rp_filter", 2),
        refuses=reported.get("refuses") is True,
        dropped=optional("dropped", 2**31),
        table=optional("table", 2**32 - 1) or None,
    )


def _interface(reported: Mapping[str, Any], name: str) -> str | None:
    value = reported.get(name)
    if value is not None and not (isinstance(value, str) and INTERFACE_NAME.fullmatch(value)):
        raise PayloadError(f"{name} is not the name of an interface")
    return value


def _counts(body: Mapping[str, Any], name: str) -> dict[str, int]:
    value = body.get(name)
    if not isinstance(value, dict) or len(value) > 32:
        raise PayloadError(f"{name} is not a table of counts")
    if not all(_WORD.fullmatch(word) for word in value):
        raise PayloadError(f"{name} has counts of what no responder counts")
    return {word: _integer(value, word, 0, 2**31) for word in value}
