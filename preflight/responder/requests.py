"""What the responder does with a request from its mailbox, without I/O."""

from dataclasses import dataclass

from preflight.model.path import PeerReport
from preflight.proto.responder.admission import TokenBucket
from preflight.proto.responder.mailbox_probe import PayloadError, ProbeRequest, ReplayGuard, decode_request
from preflight.responder.core import ResponderCore

REQUESTS_PER_S = 2.0
REQUEST_BURST = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """A request from the mailbox that was read: send probes, then report; or only say why not.

    signed: with the shared key, so that the asker may also get what is only for those who have it.
    """

    request: ProbeRequest
    refusal: str = ""
    signed: bool = False


class Requests:
    """Whose requests are carried out, and the report about each. agent_id: the mailbox that they come to."""

    def __init__(self, core: ResponderCore, key: bytes | None, agent_id: str, now: float) -> None:
        self._core = core
        self._key = key
        self._agent_id = agent_id
        self._freshness = ReplayGuard()
        self._bucket = TokenBucket(REQUESTS_PER_S, REQUEST_BURST, now)

    def ready(self, now: float) -> bool:
        """Whether another request may be taken now; the rest waits in the mailbox."""
        return self._bucket.take(now)

    def order(self, payload: str, sender: str, now_unix_ms: int) -> Order | None:
        """What to do about a request; None if it is malformed, replayed or for another responder.

        Probes go only to a provisioned address, or when the request is signed with the key.
        """
        try:
            request, signed = decode_request(payload, self._key)
            if request.receiver != self._agent_id or request.sender != sender:
                return None
            if not signed and not self._core.provisioned(request.address):
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
        known = self._core.witnessed(request.address, request.port, request.ssid, now=now, now_ns=now_ns)
        unsent = dict(known.unsent)
        for error, count in errors.items():
            unsent[error] = unsent.get(error, 0) + count
        return PeerReport(
            received=known.received,
            elsewhere=known.elsewhere,
            refused=known.refused,
            sent=sent,
            send_errors=unsent,
            overflowed=known.overflowed,
        )
