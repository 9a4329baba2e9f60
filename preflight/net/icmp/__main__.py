"""`python -m preflight.net.icmp ADDRESS… [--count N] …`: a sweep of many addresses, with nothing else loaded."""

import json
import sys
from ipaddress import ip_address
from typing import Any, Final

from preflight.model.icmp import EchoStats
from preflight.net.icmp.sweep import Pace, sweep_addresses

USAGE: Final = """\
usage: python -m preflight.net.icmp [OPTION…] [ADDRESS…]
Without an ADDRESS, addresses come from standard input, separated by white space.
  --count N          requests to each address [3]
  --interval-ms MS   between any two requests [1]
  --period-ms MS     between two requests to one address [20]
  --timeout-ms MS    how long to wait for answers after the last request [1000]
"""


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
        sys.stderr.write("this process may not send echoes: raw sockets need CAP_NET_RAW, ping sockets a group\n")
        return 2
    sys.stdout.write("".join(f"{_line(*pair)}\n" for pair in zip(addresses, found, strict=True)))
    return 0 if all(stats.received == stats.sent == pace.count for stats in found) else 1


def _parse(arguments: list[str]) -> tuple[Pace, list[str]]:
    """The options and the addresses. Raises ValueError. No argparse: it loads for longer than 500 echoes take."""
    given: dict[str, Any] = {}
    addresses: list[str] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("--"):
            addresses.append(word)
            continue
        value = float(next(words, "nan"))
        if not value >= 0 or word not in _OPTIONS or (word in ("--count", "--interval-ms") and value == 0):
            raise ValueError(f"{word}: unknown option, or no valid value after it")
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
    report = {
        "address": address,
        "sent": stats.sent,
        "received": stats.received,
        "duplicates": stats.duplicates,
        "rtt_min_ms": round(rtts[0], 3) if rtts else None,
        "rtt_median_ms": round(rtts[len(rtts) // 2], 3) if rtts else None,
        "rtt_max_ms": round(rtts[-1], 3) if rtts else None,
        "error": stats.error,
    }
    return json.dumps(report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
