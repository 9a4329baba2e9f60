"""Asking a peer's responder to trace the way back to this node: a thin shell around its core of the same name."""

import os
from time import monotonic

from preflight.model.event import Listener, telling
from preflight.model.peer import Peer
from preflight.model.return_path import ReverseTraceroute
from preflight.net import udp
from preflight.net.drive import drive
from preflight.proto.responder.reverse_trace import TOKEN_BYTES, TraceQuestion


async def ask_for_trace(peer: Peer, key: bytes | None, listener: Listener | None = None) -> ReverseTraceroute | None:
    """What the responder reports; None if it does not answer, or does not trace. What the network does is data."""
    tell = telling(listener, "responder.reverse_trace", peer.target)
    try:
        link = udp.open_towards(peer.address, peer.responder_port)
    except OSError:
        return None
    with link:
        udp.set_ttl(link, udp.FULL_TTL)
        here = str(link.getsockname()[0])
        return await drive(TraceQuestion(os.urandom(TOKEN_BYTES), key, here, monotonic(), tell), link, tell)
