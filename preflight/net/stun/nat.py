"""Asking a peer's responder about a NAT: which endpoint it sees, and whether its packets get in after a silence."""

import secrets
from base64 import b64decode
from time import monotonic
from typing import TYPE_CHECKING

from preflight.model.event import Listener, telling
from preflight.model.nat import AfterSilence
from preflight.model.peer import Peer
from preflight.net import udp
from preflight.net.drive import drive
from preflight.proto.stun.nat import NONCE_BYTES, SEEN_WITHIN_S, Kind, Message, Question, SilenceTest

if TYPE_CHECKING:
    from preflight.settings.load import Settings


class NatProbes:
    """What a run can learn about NATs from the responders of its peers."""

    def __init__(self, settings: "Settings", *, listener: Listener | None = None) -> None:
        self._listener = listener
        self._key_for = settings.secrets.key_for

    async def seen_as(self, peer: Peer, public_key: str) -> str | None:
        """The endpoint `ADDRESS:PORT` by which the peer's tunnel reaches this node; None if the peer does not say.

        public_key: of this node's tunnel, base64 as `wg` shows it. Takes 1.5 s if nobody answers.
        """
        tell = telling(self._listener, "stun.nat", peer.target)
        where = Message(Kind.WHERE, secrets.token_bytes(NONCE_BYTES), public_key=b64decode(public_key))
        key = self._key_for(peer.address)
        question = Question(where, Kind.SEEN, key, now=monotonic(), within_s=SEEN_WITHIN_S, tell=tell)
        try:
            with udp.open_towards(peer.address, peer.responder_port) as link:
                answer = await drive(question, link, tell)
        except OSError:
            return None
        return (answer.endpoint or None) if answer else None

    async def after_silence(self, peer: Peer, step_s: float, tail_s: float) -> AfterSilence:
        """Have the peer send after `tail_s + step_s` of silence, if it agrees to do it.

        tail_s: how long the tunnel itself still sends after the last packet.
        """
        tell = telling(self._listener, "stun.nat", peer.target)
        nonce, delay_s = secrets.token_bytes(NONCE_BYTES), tail_s + step_s
        key = self._key_for(peer.address)
        test = SilenceTest(nonce, key, step_s=step_s, delay_s=delay_s, now=monotonic(), tell=tell)
        nothing = AfterSilence(step_s, arrived=False, agreed=False)
        try:
            with udp.open_towards(peer.address, peer.responder_port) as link:
                return await drive(test, link, tell) or nothing
        except OSError:
            return nothing
