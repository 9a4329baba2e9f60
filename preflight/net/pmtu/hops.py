"""How far large packets get, from one UDP socket without privilege: a thin shell around `preflight.proto.pmtu.hops`."""

import os
import socket
from time import monotonic

from preflight.model.pmtu_hops import Vanishing
from preflight.net import udp
from preflight.proto.pmtu.hops import HopSearch
from preflight.proto.pmtu.wire import TOKEN_BYTES


async def find_vanishing(address: str, *, small: int, large: int, patience_s: float) -> Vanishing:
    """Ask the hops towards an address for packets of two sizes, IP packets in bytes, of which only `small` arrives.

    patience_s: how long an answer is waited for, seconds. A node without a way there, as a network without answers,
    gives no hops.
    """
    try:
        link = udp.open_towards(address, udp.TRACEROUTE_PORT)
    except OSError:
        return Vanishing(small, large)
    token = os.urandom(TOKEN_BYTES)
    search = HopSearch(address=address, small=small, large=large, token=token, patience_s=patience_s)
    with link:
        while (timer := search.get_timer()) is not None:
            for ttl, datagram in search.datagrams_to_send(monotonic()):
                udp.send(link, datagram, control=udp.ttl_control(link.family, ttl))
            if (left_s := (search.get_timer() or timer) - monotonic()) > 0:
                await udp.until_readable(link, left_s)
            now = monotonic()
            _take_errors(search, link, now)
            search.handle_timer(now)
    assert search.result is not None
    return search.result


def _take_errors(search: HopSearch, link: socket.socket, now: float) -> None:
    for error in udp.receive_errors(link):
        if error.offender is not None and (error.time_exceeded or error.port_unreachable):
            search.answered(error.data, error.offender, error.port_unreachable, now)
    for _ in udp.waiting(link):  # whoever serves such a port and answers: left unread it would wake us for ever
        pass
