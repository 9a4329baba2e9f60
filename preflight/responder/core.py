"""What the responder does with a datagram, and what it remembers of each source, without I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from preflight.model.heard import Heard
from preflight.proto.core import Address
from preflight.proto.pmtu import wire as probe
from preflight.proto.pmtu.wire import ProbeServer
from preflight.proto.responder.admission import Admission, Ledger, Verdict
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stamp.wire import StampError

MAGIC_BYTES = 4
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

Taker = Callable[[bytes, Address], bool]
"""Takes a datagram of a flow that was granted by TCP, and says whether it is one."""


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What a responder knows of one session, by this host's counters; see `preflight.model.path.PeerReport`."""

    received: int
    elsewhere: int
    refused: Mapping[str, int]
    unsent: Mapping[str, int]
    overflowed: int


class ResponderCore:
    """Admission before everything, then the service of the datagram's magic; what has none is STAMP.

    key: the shared key; without one only provisioned sources are served.
    services: by the first four bytes of their datagrams, in addition to the path-MTU probes. `flows`: by address, who
    takes its datagrams before admission, for as long as a flow of load from there is granted.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        reflector: SessionReflector,
        probes: ProbeServer,
        key: bytes | None,
        services: Mapping[bytes, Service] | None = None,
    ) -> None:
        self._services: dict[bytes, Service] = {probe.MAGIC: self._probe, **(services or {})}
        self._admission = admission
        self._reflector = reflector
        self._probes = probes
        self._key = key
        self._refused = Ledger()
        self._unsent = Ledger()
        self._received = 0
        self._answered = 0
        self.flows: dict[str, Taker] = {}

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

    def provisioned(self, address: str) -> bool:
        """Whether an address may ask without the key."""
        return self._admission.allows(address)

    def witnessed(self, address: str, port: int, ssid: int, *, now: float, now_ns: int) -> Witnessed:
        """What came of one session from an address and a port, what of it was dropped, and what did not leave."""
        since = now - SESSION_MEMORY_S
        return Witnessed(
            received=self._reflector.received(address, port, ssid),
            elsewhere=self._reflector.received_elsewhere(address, ssid, now_ns - int(SESSION_MEMORY_S * 1e9)),
            refused=self._refused.recent(address, since),
            unsent=self._unsent.recent(address, since),
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
