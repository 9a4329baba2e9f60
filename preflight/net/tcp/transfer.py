"""One request over a separate TCP connection, watched by TCP_INFO: do full segments get through?"""

import asyncio
import os
import socket
import ssl
import struct
import time
from dataclasses import replace
from math import inf
from pathlib import Path

from preflight.model.event import Listener, telling
from preflight.model.tcp import ConnectFailure, TcpInfo, Transfer, TransferOutcome
from preflight.net.tcp.tls import observing_context
from preflight.net.udp import family_of
from preflight.proto.tcp import info as tcpinfo

CONNECT_S = 3.0
PATIENCE_S = 2.5
TIMEOUTS = 3
"""A connection stalls for certain once this many retransmissions in a row, at 0.2, 0.6 and 1.4 s (RFC 6298, Linux's
least RTO), got no answer in some round trips."""
LOOK_S = 0.1
ANSWER_RTTS = 2
PATIENCE_RTTS = 5
LONGEST_PATIENCE_S = 3.0
ENOUGH_BYTES = 8192
"""How much of an answer to read: six full segments of a tunnel. The rest would load the path for nothing."""

MTU_PROBING = Path("/proc/sys/net/ipv4/tcp_mtu_probing")
_RESET = struct.pack("=ii", 1, 0)


async def transfer(
    address: str,
    port: int,
    request: bytes,
    *,
    server_name: str | None = None,
    max_segment: int | None = None,
    patience_s: float | None = None,
    listener: Listener | None = None,
) -> Transfer:
    """Send a request to a literal address and read the beginning of the answer; at most six seconds.

    server_name: speak TLS for that name. The certificate is not verified: the request must hold no secret then.
    max_segment: TCP_MAXSEG before connecting, bytes. patience_s: for all of it over a near path; a far one gets a few
    round trips. Whatever goes wrong is data.
    """
    tell = telling(listener, "tcp.transfer", address)
    tell(time.monotonic(), "transfer-started", port=port, request_bytes=len(request), max_segment_bytes=max_segment)
    done = await _transfer(address, port, request, server_name, max_segment, patience_s or PATIENCE_S)
    counted = done.info
    tell(
        time.monotonic(),
        "transfer-ended",
        port=port,
        outcome=done.outcome,
        sent_segment_bytes=counted.snd_mss if counted else None,
        received_bytes=counted.received if counted else None,
        retransmitted=counted.retransmitted if counted else None,
        rtt_us=counted.rtt_us if counted else None,
    )
    return done


async def _transfer(
    address: str, port: int, request: bytes, server_name: str | None, max_segment: int | None, patience_s: float
) -> Transfer:
    begun = Transfer(address, port, "unreachable", len(request), max_segment, probing=_probing())
    with socket.socket(family_of(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as link:
        if max_segment is not None:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, max_segment)
        failure, detail = await _connect(link, (address, port))
        if failure is not None:
            return replace(begun, outcome=failure, detail=detail)
        # The transport closes its socket when it gives up. Without a second one the kernel's counters would be gone.
        with link.dup() as meter:
            outcome, detail = await _patiently(link, meter, request, server_name, patience_s)
            return replace(begun, outcome=outcome, detail=detail, info=_info(meter))


async def _connect(link: socket.socket, place: tuple[str, int]) -> tuple[ConnectFailure | None, str]:
    try:
        async with asyncio.timeout(CONNECT_S):
            await asyncio.get_running_loop().sock_connect(link, place)
    except TimeoutError:
        return "timeout", f"no answer within {CONNECT_S:g} s"
    except ConnectionRefusedError as error:
        return "refused", _words(error)
    except OSError as error:
        return "unreachable", _words(error)
    return None, ""


async def _patiently(
    link: socket.socket, meter: socket.socket, request: bytes, server_name: str | None, near_s: float
) -> tuple[TransferOutcome, str]:
    patience_s = min(max(near_s, PATIENCE_RTTS * _info(meter).rtt_us / 1e6), LONGEST_PATIENCE_S)
    exchange = asyncio.create_task(_exchange(link, request, server_name))
    began, vain_since = time.monotonic(), inf
    try:
        while not exchange.done() and (waited_s := time.monotonic() - began) < patience_s:
            info = _info(meter)
            vain_since = min(vain_since, waited_s) if info.timeouts >= TIMEOUTS and info.unacked else inf
            if waited_s - vain_since >= max(LOOK_S, ANSWER_RTTS * info.rtt_us / 1e6):
                break
            await asyncio.wait({exchange}, timeout=min(LOOK_S, patience_s - waited_s))
        if exchange.done():
            return exchange.result()
    finally:
        exchange.cancel()
        await asyncio.gather(exchange, return_exceptions=True)
    # The kernel must not retransmit for minutes for a connection that nobody waits for.
    meter.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return "unfinished", f"not finished within {time.monotonic() - began:.1f} s"


async def _exchange(link: socket.socket, request: bytes, server_name: str | None) -> tuple[TransferOutcome, str]:
    """TLS if there is a name for it, the request, and the beginning of the answer or all of it."""
    try:
        context = observing_context() if server_name else None
        reader, writer = await asyncio.open_connection(sock=link, ssl=context, server_hostname=server_name)
        try:
            writer.write(request)
            received = 0
            while received < ENOUGH_BYTES and (chunk := await reader.read(ENOUGH_BYTES)):
                received += len(chunk)
        finally:
            writer.transport.abort()
    except ssl.SSLError as error:
        return "failed", error.reason or "no reason given"
    except OSError as error:
        return "failed", _words(error)
    return "finished", ""


def _info(link: socket.socket) -> TcpInfo:
    return tcpinfo.decode(link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcpinfo.SIZE))


def _probing() -> int:
    try:
        return int(MTU_PROBING.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__
