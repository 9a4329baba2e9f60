"""What programs on this node get for a name: hosts file, name-service switch, then the resolvers."""

import asyncio
import socket
import threading
import time

from preflight.model.dns import Lookup, LookupOutcome
from preflight.model.event import Listener, telling

_OUTCOMES: dict[int, LookupOutcome] = {
    socket.EAI_NONAME: "nxdomain",
    socket.EAI_NODATA: "no-address",
    socket.EAI_AGAIN: "timeout",
}


async def system_lookup(name: str, timeout_s: float, listener: Listener | None = None) -> Lookup:
    """What getaddrinfo gives for a name or literal, within `timeout_s`; every failure is data.

    It runs in a daemon thread: getaddrinfo cannot be cancelled, and asyncio's executor would keep the
    program from ending until every dead resolver had used up its retries.
    """
    tell = telling(listener, "lookup", name)
    tell(time.monotonic(), "lookup-started", timeout_s=timeout_s)
    lookup = await _in_a_thread(name, timeout_s)
    tell(time.monotonic(), "lookup-ended", outcome=lookup.outcome, addresses=lookup.addresses, rtt_ms=lookup.rtt_ms)
    return lookup


async def _in_a_thread(name: str, timeout_s: float) -> Lookup:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Lookup] = loop.create_future()

    def deliver(lookup: Lookup) -> None:
        if not answer.done():
            answer.set_result(lookup)

    def work() -> None:
        lookup = _getaddrinfo(name)
        try:
            loop.call_soon_threadsafe(deliver, lookup)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    threading.Thread(target=work, name="getaddrinfo", daemon=True).start()
    try:
        async with asyncio.timeout(timeout_s):
            return await answer
    except TimeoutError:
        return Lookup("system", "timeout", detail=f"no answer within {timeout_s:g} s")


def _getaddrinfo(name: str) -> Lookup:
    began = time.perf_counter()
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        outcome = _OUTCOMES.get(error.errno or 0, "failed")
        return Lookup("system", outcome, rtt_ms=_elapsed_ms(began), detail=error.strerror or "")
    except (OSError, UnicodeError) as error:
        return Lookup("system", "failed", detail=type(error).__name__)
    addresses = tuple(dict.fromkeys(str(item[4][0]) for item in found))
    return Lookup("system", "answer", addresses, _elapsed_ms(began))


def _elapsed_ms(began: float) -> float:
    return (time.perf_counter() - began) * 1000
