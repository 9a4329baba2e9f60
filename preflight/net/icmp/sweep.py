"""Many addresses at once, from one socket per family: is everybody there?

`python -m preflight.net.icmp.sweep ADDRESS… [--count N] …` runs a sweep with nothing else loaded.
"""

import json
import select
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from time import monotonic
from typing import Any, Final

from preflight.model.icmp import EchoStats
from preflight.net.icmp.echo import EchoSocket
from preflight.proto.icmp.sweep import Burst, Sweep

PACKETS_PER_SECOND: Final = 1000.0
"""All requests of one family together: about 0.7 Mbit/s, gentle on any path that carries an overlay."""
USAGE: Final = """\
usage: python -m preflight.net.icmp.sweep [OPTION…] [ADDRESS…]
Addresses also from standard input, by white space, when none is given.
  --count N          requests to each address [3]
  --interval-ms MS   between any two requests [1]
  --period-ms MS     between two requests to one address [20]
  --timeout-ms MS    how long silence is waited for behind the last request [1000]
"""


def steps(sweep: Sweep, echo_socket: EchoSocket) -> Iterator[tuple[float, list[Burst]]]:
    """Run a sweep; yields the bursts that have ended, and the seconds to wait for the socket, or for a new burst."""
    while True:
        echo_socket.send(sweep)
        echo_socket.receive(sweep)
        now = monotonic()
        ended = sweep.ended(now)
        wake_at = sweep.wake_at(now)
        yield (0.0 if wake_at is None else max(wake_at - now, 0.0)), ended
        if wake_at is None and sweep.wake_at(now) is None:  # nor was a burst added meanwhile
            return


@dataclass(frozen=True, slots=True)
class Pace:
    """How a sweep is sent; times in seconds. interval_s: between any two requests; period_s: to one address."""

    count: int = 3
    interval_s: float = 1 / PACKETS_PER_SECOND
    period_s: float = 0.02
    timeout_s: float = 1.0


def sweep_addresses(addresses: Sequence[str], pace: Pace) -> list[EchoStats]:
    """Sweep literal addresses of both families without an event loop; stats in their order.

    Raises PermissionError where this process may send no echoes.
    """
    families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
    sweeps = {family: Sweep(1 / pace.interval_s) for family in families}
    now = monotonic()
    bursts = [
        sweeps[family].add(address, count=pace.count, interval_s=pace.period_s, timeout_s=pace.timeout_s, now=now)
        for address, family in zip(addresses, families, strict=True)
    ]
    sockets: dict[int, EchoSocket] = {}
    try:
        for family in sweeps:
            sockets[family] = EchoSocket(family)
        _run_blocking([(sockets[family], steps(sweep, sockets[family])) for family, sweep in sweeps.items()])
    finally:
        for echo_socket in sockets.values():
            echo_socket.close()
    return [burst.stats for burst in bursts]


def _run_blocking(running: list[tuple[EchoSocket, Iterator[tuple[float, list[Burst]]]]]) -> None:
    """Run sweeps side by side."""
    while running:
        waits = [(echo_socket, step, next(step, None)) for echo_socket, step in running]
        running = [(echo_socket, step) for echo_socket, step, told in waits if told is not None]
        if running:
            wait_s = min(told[0] for _, _, told in waits if told is not None)
            select.select([echo_socket for echo_socket, _ in running], [], [], wait_s)


def main(arguments: list[str]) -> int:
    """Sweep and print a line of JSON for each address; 0 if every request was answered."""
    try:
        pace, words = _parse(arguments)
        addresses = [str(ip_address(word)) for word in words or sys.stdin.read().split()]
    except ValueError as error:
        sys.stderr.write(f"{error}\n{USAGE}")
        return 2
    try:
        found = sweep_addresses(addresses, pace)
    except PermissionError:
        sys.stderr.write("this process may not send echoes: raw sockets take CAP_NET_RAW, ping sockets a group\n")
        return 2
    sys.stdout.write("".join(f"{_line(*pair)}\n" for pair in zip(addresses, found, strict=True)))
    return 0 if all(stats.received == stats.sent == pace.count for stats in found) else 1


def _parse(arguments: list[str]) -> tuple[Pace, list[str]]:
    """The options and the addresses. Raises ValueError. By hand: argparse takes longer to load than 500 echoes."""
    given: dict[str, Any] = {}
    addresses: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("--"):
            addresses.append(word)
            continue
        value = float(next(words, "nan"))
        if not value >= 0 or word not in _OPTIONS or (word in ("--count", "--interval-ms") and value == 0):
            raise ValueError(f"{word}: no such option, or no good value behind it")
        given[_OPTIONS[word]] = int(value) if word == "--count" else value / 1000
    return Pace(**given), addresses


_OPTIONS: Final = {
    "--count": "count",
    "--interval-ms": "interval_s",
    "--period-ms": "period_s",
    "--timeout-ms": "timeout_s",
}


def _line(address: str, stats: EchoStats) -> str:
    rtts = sorted(stats.rtt_ms)
    told = {
        "address": address,
        "sent": stats.sent,
        "received": stats.received,
        "duplicates": stats.duplicates,
        "rtt_min_ms": round(rtts[0], 3) if rtts else None,
        "rtt_median_ms": round(rtts[len(rtts) // 2], 3) if rtts else None,
        "rtt_max_ms": round(rtts[-1], 3) if rtts else None,
        "error": stats.error,
    }
    return json.dumps(told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
