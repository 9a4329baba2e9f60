"""The responder as a STUN server for its peers."""

from collections.abc import Sequence

from preflight.proto.stun import binding as stun
from preflight.responder.core import Arrival, ResponderCore


class StunService:
    """Answers Binding requests; strangers must sign theirs with the key."""

    def __init__(self, core: ResponderCore, key: bytes | None) -> None:
        self._core = core
        self._key = key

    def handle(self, data: bytes, arrival: Arrival) -> Sequence[bytes]:
        """The service for datagrams that begin like Binding requests; a test packet may do that too, by its number."""
        if data[4:8] != stun.COOKIE:
            return self._core.stamp(data, arrival)
        answer = stun.answer(data, arrival.source, self._key, signed_only=arrival.stranger)
        if answer is None:
            self._core.dropped("bad-stun")
            return ()
        return (answer,)
