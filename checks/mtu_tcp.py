"""Does TCP to the control plane carry full segments, or does it stall where smaller segments pass?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Evidence,
    Remedies,
    Result,
    Status,
    beside,
    check,
    codes,
    failed,
    heal,
    inconclusive,
    look,
    passed,
    skipped,
)
from preflight.model.facts import TcpFacts
from preflight.model.fix import Route
from preflight.model.host_port import join_host_port
from preflight.model.tcp import Transfer
from preflight.proto.control.placement import PRIVATE, placement
from preflight.proto.control.url import ControlUrl

if TYPE_CHECKING:
    from pydantic import SecretStr

SMALL_PACKET = {4: 1240, 6: 1280}
"""Packets of the repeat, bytes: a TCP_MAXSEG of 1200 over IPv4; over IPv6 what every link must carry."""
LEAST_PACKET, MARGIN_BYTES, USUAL_BYTES = 576, 240, 1500
"""What IPv4 carries everywhere, by how much the repeat is smaller than full packets, and their usual size."""
HEADERS = {4: 40, 6: 60}
LONG_S = 1.8
"""A stalled connection has retransmitted three times by then, and a slow line that is well has brought its answer."""
SMALL_S = 1.2
"""For a request with small segments: it shows something only where the server answers it much sooner than one with full
ones."""
PADDING = ("x" * 1800,) * 3
"""Header lines that no server reads: four full segments of a tunnel, below the usual limit of 8 KiB of headers."""


@check(
    "mtu.tcp",
    title="TCP to the control plane carries full segments",
    subject="control",
    codes=(codes.MTU_BLACK_HOLE,),
    needs=("control.connect",),
    timeout=25,
)
async def mtu_tcp(ctx: Context) -> AsyncGenerator[Result, None]:
    """Sends a request of several full segments and watches the kernel's TCP_INFO.

    If it stalls, passes with segments of 1200 bytes, and stalls again without them, large packets vanish: in the
    forward direction if the request is not acknowledged, in the reverse direction if it is acknowledged but no answer
    comes.
    """
    url = ctx.settings.control.usable_url
    if url is None:
        yield _not_applicable("there is no usable control URL")
    elif (proxy := ctx.net.control.proxy) is not None:
        yield _not_applicable(f"{proxy.variable} sends clients of {url} to the proxy {proxy.place}")
    else:
        transfers = await measure(ctx, url)
        if crowded(transfers):
            async with ctx.net.turns.alone_instead():
                transfers = await measure(ctx, url)
        for result in judge(url, transfers, await _interface(ctx, url)):
            if result.status is Status.FAIL:
                ctx.net.segments_vanish.set()
            yield result


def crowded(transfers: Sequence[Transfer]) -> bool:
    """Whether segments of any size were lost, as they are behind what other checks send over a slow link."""
    return len(transfers) == 2 and all(transfer.stalled for transfer in transfers)


async def measure(ctx: Context, url: ControlUrl) -> Sequence[Transfer]:
    """One request; if it does not complete, one with small segments; if that completes, the first one again.

    The others go out in addition to one that takes long, and are ended if it completes after all.
    """
    addresses = await ctx.net.dns.addresses(url)
    transfers: list[Transfer] = []
    for address in addresses:
        sending = asyncio.create_task(_send(ctx, url, address))
        first, others = await beside(
            _end_of(sending),
            partial(_others, ctx, url, address, sending),
            enough=lambda first: first.outcome != "unfinished",
            after_s=LONG_S,
        )
        transfers = [first]
        if first.info is not None:
            small, again = others or (None, None)
            transfers += [each for each in (small, again) if each is not None]
            break
    return transfers


def smaller(address: str, full_bytes: int | None) -> int:
    """A size that differs from that of full packets: a tunnel may carry no more than what is small elsewhere."""
    if ":" in address:
        return SMALL_PACKET[6]
    return max(LEAST_PACKET, min(SMALL_PACKET[4], (full_bytes or USUAL_BYTES) - MARGIN_BYTES))


async def _end_of(sending: asyncio.Task[Transfer]) -> Transfer:
    return await sending


async def _others(
    ctx: Context, url: ControlUrl, address: str, sending: asyncio.Task[Transfer]
) -> tuple[Transfer, Transfer | None]:
    """A request with small segments, and if it goes further than the one before, one with full ones again."""
    small = await _send(ctx, url, address, small_bytes=smaller(address, ctx.tunnel_mtu(address)))
    further = small.outcome == "finished" or (small.delivered and (await asyncio.shield(sending)).stalled)
    return small, await _send(ctx, url, address) if further else None


async def _send(ctx: Context, url: ControlUrl, address: str, *, small_bytes: int | None = None) -> Transfer:
    version = 6 if ":" in address else 4
    overlay = await ctx.net.with_routes(ctx.overlay, [address], url.port)
    private = url.scheme == "http" and placement(address, overlay) in PRIVATE
    return await ctx.net.tcp.transfer(
        address,
        url.port,
        _request(url, ctx.settings.secrets.token if private else None),
        server_name=url.host if url.scheme == "https" else None,
        max_segment=small_bytes - HEADERS[version] if small_bytes else None,
        patience_s=SMALL_S if small_bytes else None,
    )


def _request(url: ControlUrl, token: "SecretStr | None") -> bytes:
    """Two padded reads of long documents. Any answer will do, even a refusal; only a long one tests the reverse
    direction.
    """
    common = f"Host: {url.authority}\r\n"
    bearer = token.get_secret_value() if token else ""
    if bearer and bearer.isascii() and bearer.isprintable():
        common += f"Authorization: Bearer {bearer}\r\n"
    padding = "".join(f"X-Padding-{number}: {text}\r\n" for number, text in enumerate(PADDING))
    nodes = f"GET {url.path}/v1/populi/nodes HTTP/1.1\r\n{common}{padding}\r\n"
    return f"{nodes}GET {url.path}/openapi.json HTTP/1.1\r\n{common}Connection: close\r\n\r\n".encode("ascii")


async def _interface(ctx: Context, url: ControlUrl) -> str | None:
    """The overlay interface, if the URL's literal address is on the overlay."""
    if url.address is None:
        return None
    state = await ctx.net.with_routes(ctx.overlay, [url.host], url.port)
    return state.routes[url.host].interface if state and state.covers(url.host) else None


def judge(url: ControlUrl, transfers: Sequence[Transfer], interface: str | None = None) -> tuple[Result, ...]:
    """A verdict on the forward direction, and one on the reverse direction if a large enough packet came back."""
    if not transfers:
        return (_unanswered(f"programs on this node get no address for {url.host} any more"),)
    first, last = transfers[0], transfers[-1]
    if first.info is None:
        return (_unsteady(transfers, f"no connection to {_place(first)} could be opened this time ({first.detail})"),)
    if len(transfers) == 1:
        return _arrived(first, transfers) if first.delivered else (_cut_short(first),)
    if len(transfers) == 2:
        return _no_difference(first, transfers)
    if first.stalled and last.stalled:
        return (_stalls(transfers, Direction.FORWARD, interface),)
    if first.waiting and last.waiting:
        there = (_there(first, transfers),) if first.delivered else ()
        return (*there, _stalls(transfers, Direction.REVERSE, interface))
    if last.delivered:
        return _arrived(last, transfers)
    return (_unsteady(transfers, f"TCP to {_place(first)} stalls at a different point each time"),)


def _arrived(transfer: Transfer, transfers: Sequence[Transfer]) -> tuple[Result, ...]:
    recovered = "; the first attempt did not complete: packets were lost, but not because of their size"
    there = _there(transfer, transfers, recovered if len(transfers) > 1 else "")
    if not transfer.full_size_came:
        return (there,)
    message = f"{_packets(transfer)} of TCP from {_place(transfer)} arrive"
    back = passed(CONTROL, Direction.REVERSE, message, facts=_facts(transfer))
    return there, back


def _there(transfer: Transfer, transfers: Sequence[Transfer], note: str = "") -> Result:
    info = transfer.info
    assert info is not None
    place = _place(transfer)
    if transfer.full_size:
        message = f"{_packets(transfer)} of TCP arrive at {place}{_kept_small(transfer)}"
    else:
        message = f"a request of {transfer.sent} bytes arrives at {place}; full segments have {info.snd_mss} bytes here"
    if not any(each.full_size_came for each in transfers):
        message += "; nothing as large came back, so the reverse direction is not known"
    return passed(
        CONTROL,
        Direction.FORWARD,
        message + note,
        facts=_facts(transfer),
        evidence=(_evidence(transfers),),
        attempts=len(transfers),
    )


def _kept_small(transfer: Transfer) -> str:
    """Why TCP may pass where larger UDP packets do not."""
    info = transfer.info
    assert info is not None
    if transfer.packet_bytes >= info.pmtu:
        return ""
    if transfer.probing:
        return f": this node's kernel keeps them below the path's {info.pmtu} (net.ipv4.tcp_mtu_probing)"
    return (
        f": the other side, or an MSS clamp on the path, keeps them below this node's {info.pmtu}, so this does not "
        "show that larger UDP packets pass"
    )


def _stalls(transfers: Sequence[Transfer], direction: Direction, interface: str | None) -> Result:
    first, small = transfers[0], transfers[1]
    info = first.info
    assert info is not None
    if direction is Direction.FORWARD:
        what = (
            f"TCP to {_place(first)} stalls: {_packets(first)} are lost ({info.lost} segments, sent again "
            f"{info.retransmitted} times) and the path MTU stays {info.pmtu}"
        )
        rest = "larger packets vanish on the way there; it is not known what the way back carries"
    else:
        gap = f" ({info.out_of_order} segments behind a gap)" if info.out_of_order else ""
        awaited = "the answer" if first.delivered else "the TLS handshake"
        what = f"{awaited} of {_place(first)} stalls{gap} although everything that this node sent has arrived"
        rest = "larger packets vanish on the way back"
    return failed(
        codes.MTU_BLACK_HOLE,
        CONTROL,
        direction,
        f"{what}, twice; with packets of {_small_bytes(small)} bytes the request completes: {rest}",
        remedies=_remedies(small, interface),
        facts=_facts(first),
        measurements={"small_packet_bytes": _small_bytes(small)},
        evidence=(_evidence(transfers),),
        attempts=len(transfers),
    )


def _remedies(small: Transfer, interface: str | None) -> Remedies:
    """A route with a locked MTU keeps the segments of both directions small; another check finds the exact size."""
    exact = f"preflight run mtu.echo mtu.path --peer {small.address}   # the exact size"
    if interface is None:
        return look(f"{exact}; then the MTU of the interface that leads there")
    host = f"{small.address}/{128 if ':' in small.address else 32}"
    route = heal(
        lambda: Route(action="replace", destination=host, interface=interface, locked_mtu_bytes=_small_bytes(small)),
        lasting="a smaller MTU of the tunnel",
    )
    return (*route, *look(exact))


def _no_difference(first: Transfer, transfers: Sequence[Transfer]) -> tuple[Result, ...]:
    """Small segments stalled too, so packet size is not shown to be the cause."""
    if first.delivered:
        return (_there(first, transfers),)
    size = _small_bytes(transfers[1])
    return (_unsteady(transfers, f"TCP to {_place(first)} stalls with packets of {size} bytes too"),)


def _unsteady(transfers: Sequence[Transfer], fact: str) -> Result:
    return inconclusive(
        codes.RUN_TIMEOUT,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{fact}, so packet size is not shown to be why; a responder there would distinguish loss from path MTU",
        facts=_facts(transfers[0]),
        evidence=(_evidence(transfers),),
        attempts=len(transfers),
    )


def _cut_short(transfer: Transfer) -> Result:
    """A server that hangs up on a long request, or a failed TLS handshake: other checks report what that means."""
    why = f" ({transfer.detail})" if transfer.detail else ""
    return _unanswered(
        f"{_place(transfer)} ended the connection before full segments had arrived{why}, so this says nothing about "
        "them"
    )


def _unanswered(message: str) -> Result:
    return inconclusive(codes.RUN_NO_ANSWER, CONTROL, Direction.ROUND_TRIP, message)


def _not_applicable(message: str) -> Result:
    return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)


def _packets(transfer: Transfer) -> str:
    return f"{transfer.packet_bytes}-byte packets"


def _small_bytes(small: Transfer) -> int:
    return (small.max_segment or 0) + HEADERS[6 if ":" in small.address else 4]


def _place(transfer: Transfer) -> str:
    return join_host_port(transfer.address, transfer.port)


def _facts(transfer: Transfer) -> TcpFacts | None:
    info = transfer.info
    if info is None:
        return None
    return TcpFacts(
        packet_bytes=transfer.packet_bytes,
        mss_bytes=info.snd_mss,
        advertised_mss_bytes=info.advmss,
        received_mss_bytes=info.rcv_mss,
        path_mtu_bytes=info.pmtu,
        rtt_ms=round(info.rtt_us / 1000, 3),
        lost=info.lost,
        retransmitted=info.retransmitted,
        unacknowledged=info.unacked,
    )


def _evidence(transfers: Sequence[Transfer]) -> Evidence:
    rows = [
        {
            "max_segment": transfer.max_segment,
            "outcome": transfer.outcome,
            "detail": transfer.detail,
            "sent": transfer.sent,
            "tcp_info": asdict(transfer.info) if transfer.info else None,
        }
        for transfer in transfers
    ]
    return Evidence("tcp-info", "each attempt as the kernel saw it at its end", rows)
