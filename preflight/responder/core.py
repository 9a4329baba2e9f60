"""What the responder does with a datagram and with a request from its mailbox, without I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from preflight.model.path import Heard, PeerReport
from preflight.proto.pmtu import wire as probe
from preflight.proto.pmtu.wire import ProbeServer
from preflight.proto.responder.admission import Admission, Ledger, TokenBucket, Verdict
from preflight.proto.responder.mailbox_probe import PayloadError, ProbeRequest, ReplayGuard, decode_request
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stamp.wire import StampError

MAGIC_BYTES = 4
REQUESTS_PER_S = 2.0
REQUEST_BURST = 10.0
EVERYBODY = ""
"""The source of datagrams that the receive queue had no room for: nobody read where they came from."""
OVERFLOW = "overflow"
OVERFLOW_MEMORY_S = 10.0
"""An overflow longer ago says nothing about packets that are missing now."""
SESSION_MEMORY_S = 60.0
"""What was refused or seen longer ago does not belong to the session in question."""


class Arrival(NamedTuple):
    """Where and when a datagram came: received_ns, transmitted_ns (now) in UNIX ns, `now` in s of a steady clock.

    stranger: the source is in no provisioned prefix and may be forged. It is served only by who checks the key.
    traffic_class: DSCP and ECN; local: address and port it came to. None = unknown.
    """

    source: tuple[str, int]
    received_ns: int
    transmitted_ns: int
    ttl: int | None
    now: float
    stranger: bool
    traffic_class: int | None = None
    local: tuple[str, int] | None = None


Service = Callable[[bytes, Arrival], Sequence[bytes]]
"""Answers one kind of datagram: what to send back to the source, nothing for what must be dropped."""


@dataclass(frozen=True, slots=True)
class Order:
    """A request from the mailbox that was read: send probes, then report; or only say why not.

    signed: with the shared key, so that the asker may also get what is only for those who have it.
    """

    request: ProbeRequest
    refusal: str = ""
    signed: bool = False


class ResponderCore:
    """Admission before everything, then the service of the datagram's magic; what has none is STAMP.

    key: the shared key; without one only provisioned sources are served.
    services: by the first four bytes of their datagrams, in addition to the path-MTU probes.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        reflector: SessionReflector,
        probes: ProbeServer,
        key: bytes | None,
        agent_id: str | None,
        now: float,
        services: Mapping[bytes, Service] | None = None,
    ) -> None:
        self._services: dict[bytes, Service] = {probe.MAGIC: self._probe, **(services or {})}
        self._admission = admission
        self._reflector = reflector
        self._probes = probes
        self._key = key
        self._agent_id = agent_id
        self._freshness = ReplayGuard()
        self._requests = TokenBucket(REQUESTS_PER_S, REQUEST_BURST, now)
        self._refused = Ledger()
        self._unsent = Ledger()
        self._received = 0
        self._answered = 0

    def serve(self, magic: bytes, service: Service) -> None:
        """Have datagrams that begin with these four bytes answered by a service from now on."""
        self._services[magic] = service

    def admit(self, address: str, now: float) -> Verdict | None:
        """Whether to read a datagram from `address`, before anything else is done about it; None: it is dropped."""
        self._received += 1
        verdict = self._admission.judge(address, now)
        if verdict is Verdict.LIMITED or (verdict is Verdict.STRANGER and self._key is None):
            self.refused(address, verdict.value, now)
            return None
        return verdict

    def handle(self, data: bytes, arrival: Arrival) -> Sequence[bytes]:
        """The answers to an admitted datagram, to send back to its source; some of them are `Marked`."""
        answers = self._services.get(data[:MAGIC_BYTES], self.stamp)(data, arrival)
        if answers and arrival.stranger:
            self._admission.proven(arrival.source[0], arrival.now)
        self._answered += len(answers)
        return answers

    def _probe(self, data: bytes, arrival: Arrival) -> Sequence[bytes]:
        """Path-MTU probes. With a key, ProbeServer itself answers only what is signed."""
        answers = self._probes.handle(data, arrival.source, arrival.now)
        if not answers:
            self.refused(arrival.source[0], "bad-probe", arrival.now)
        return answers

    def stamp(self, data: bytes, arrival: Arrival) -> Sequence[bytes]:
        """The service for test packets."""
        try:
            answer = self._reflector.handle(
                data,
                arrival.source,
                received_ns=arrival.received_ns,
                transmitted_ns=arrival.transmitted_ns,
                ttl=arrival.ttl,
                traffic_class=arrival.traffic_class,
                local=arrival.local,
                drops=self._drops(arrival.source[0]),
                authenticated_only=arrival.stranger,
            )
        except StampError as error:
            self.refused(arrival.source[0], error.reason, arrival.now)
            return ()
        return (answer,)

    def _drops(self, address: str) -> tuple[int, int, int]:
        """See `preflight.proto.stamp.tlv.read_drops`."""
        limited = self._refused.counts(address).get(Verdict.LIMITED.value, 0)
        return self._refused.total[OVERFLOW], limited, sum(self._unsent.counts(address).values())

    def overflowed(self, count: int, now: float) -> None:
        """`count` more datagrams found the receive queue full."""
        self._refused.note(EVERYBODY, OVERFLOW, now, count)

    def _lately_overflowed(self, now: float) -> int:
        return self._refused.recent(EVERYBODY, now - OVERFLOW_MEMORY_S).get(OVERFLOW, 0)

    def refused(self, address: str, reason: str, now: float) -> None:
        """A datagram from `address` is dropped, for this reason."""
        self._refused.note(address, reason, now)

    def dropped(self, reason: str) -> None:
        """A datagram other than a test packet is dropped: it counts, and says nothing about test packets."""
        self._refused.total[reason] += 1

    def unsent(self, address: str, error: str, now: float) -> None:
        """An answer to `address` did not leave, because of this errno name."""
        self._unsent.note(address, error, now)

    def ready(self, now: float) -> bool:
        """Whether another request from the mailbox may be taken now; the rest waits there."""
        return self._requests.take(now)

    def order(self, payload: str, sender: str, now_unix_ms: int) -> Order | None:
        """What to do about a request from the mailbox; None if it is malformed, replayed or for another responder.

        Probes go only to a provisioned address, or when the request is signed with the key.
        """
        try:
            request, signed = decode_request(payload, self._key)
            if request.receiver != self._agent_id or request.sender != sender:
                return None
            if not signed and not self._admission.allows(request.address):
                return Order(request, self._stranger(request))
            return Order(request, self._freshness.refusal(request, now_unix_ms), signed)
        except PayloadError:
            return None

    def _stranger(self, request: ProbeRequest) -> str:
        key = "the request is not signed with its key" if self._key else "it has no key by which to know a peer"
        return f"{request.address} is not provisioned at this responder, and {key}"

    def report(
        self, request: ProbeRequest, sent: int, errors: dict[str, int], *, now: float, now_ns: int
    ) -> PeerReport:
        """What this responder knows of the session that the request names. sent, errors: of the probes sent for it."""
        since = now - SESSION_MEMORY_S
        unsent = dict(self._unsent.recent(request.address, since))
        for error, count in errors.items():
            unsent[error] = unsent.get(error, 0) + count
        return PeerReport(
            received=self._reflector.received(request.address, request.port, request.ssid),
            elsewhere=self._reflector.received_elsewhere(
                request.address, request.ssid, now_ns - int(SESSION_MEMORY_S * 1e9)
            ),
            refused=self._refused.recent(request.address, since),
            sent=sent,
            send_errors=unsent,
            overflowed=self._lately_overflowed(now),
        )

    def heard(self, address: str, *, now: float, now_ns: int) -> Heard:
        """What came from an address: STAMP packets, and what was refused."""
        reflected, refused = self._reflector.heard(address), self._refused.last(address)
        ages = [(now_ns - reflected[1]) / 1e9] if reflected else []
        ages += [now - refused[1]] if refused else []
        packets = (reflected[0] if reflected else 0) + (refused[0] if refused else 0)
        return Heard(packets, max(min(ages), 0.0) if ages else None, overflowed=self._lately_overflowed(now))

    def summary(self) -> str:
        """The counters, in one line."""
        parts = [f"received {self._received}", f"answered {self._answered}"]
        parts += [f"{reason} {count}" for reason, count in sorted(self._refused.total.items())]
        parts += [f"unsent {error} {count}" for error, count in sorted(self._unsent.total.items())]
        return ", ".join(parts)
