"""Asking STUN servers over UDP: a thin shell around `preflight.proto.stun.servers`."""

import asyncio
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from preflight.model.event import Listener, telling
from preflight.model.host_port import join_host_port
from preflight.model.peer import Peer
from preflight.model.stun import StunAnswer
from preflight.net import udp
from preflight.net.drive import drive
from preflight.proto.stun import binding as stun
from preflight.proto.stun.servers import Asked, StunQuestions


class Stun:
    """What STUN servers see of this node. key_for: the key shared with the responder at an address."""

    def __init__(
        self, key_for: Callable[[str], bytes | None] = lambda _: None, *, listener: Listener | None = None
    ) -> None:
        self._listener = listener
        self._key_for = key_for

    async def ask_peer(self, peer: Peer) -> StunAnswer:
        """Ask a peer's responder, inside the overlay; signed if this node has a key. Takes 3 s without an answer."""
        (answer,) = await self.ask([join_host_port(peer.address, peer.responder_port)], self._key_for(peer.address))
        return answer

    async def ask(self, servers: Sequence[str], key: bytes | None = None) -> tuple[StunAnswer, ...]:
        """Ask all servers (`HOST[:PORT]`), those of one address family from the same socket; 3 s at most.

        key: sign the questions and take only signed answers. What the network does is data.
        """
        asked = await asyncio.gather(*map(_resolve, servers))
        groups: dict[socket.AddressFamily, list[Asked]] = {}
        for each in asked:
            if each.open:
                groups.setdefault(udp.family_of(each.target[0]), []).append(each)
        await asyncio.gather(*(self._ask_group(family, group, key) for family, group in groups.items()))
        return tuple(each.answer for each in asked)

    async def _ask_group(self, family: socket.AddressFamily, asked: Sequence[Asked], key: bytes | None) -> None:
        """Ask the servers of one family from one socket; afterwards the answers are in `asked`."""
        tell = telling(self._listener, "stun.servers", family.name)
        with udp.open_udp("::" if family == socket.AF_INET6 else "0.0.0.0") as link:  # noqa: S104 - sends only
            udp.watch_errors(link)
            port = link.getsockname()[1]
            for each in asked:
                local = each.answer.local or ""
                each.answer = replace(each.answer, local=join_host_port(local, port))
            await drive(StunQuestions(asked, key, tell), link, tell)


async def _resolve(name: str) -> Asked:
    host, port = stun.read_server(name)
    transaction = secrets.token_bytes(stun.TRANSACTION_BYTES)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:  # the latter for what cannot be a host name
        detail = getattr(error, "strerror", None) or "no host name"
        return Asked(transaction, (host, port), StunAnswer(name, why="no-name", detail=detail))
    address = str(found[0][4][0])
    try:
        source = udp.source_address(address, port)
    except OSError as error:
        detail = udp.error_name(error.errno or 0)
        return Asked(transaction, (address, port), StunAnswer(name, address, why="no-route", detail=detail))
    return Asked(transaction, (address, port), StunAnswer(name, address, local=source))
