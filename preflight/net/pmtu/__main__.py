"""`python -m preflight.net.pmtu [--strict] ADDRESS [PORT [KEY-FILE]]`: search both directions, nothing else loaded.

It prints a line of JSON for each direction; exit code 0 if full-size packets pass, 1 if not, 2 for wrong usage.
"""

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict

from preflight.model.pmtu import OneWay
from preflight.net import udp
from preflight.net.drive import drive_blocking
from preflight.net.pmtu.host import HostPath, read_small_file
from preflight.proto.pmtu.exchange import Exchange
from preflight.proto.pmtu.fast import PathMtuSearch
from preflight.proto.pmtu.strict import StrictPathMtuSearch
from preflight.proto.pmtu.wire import LARGEST, TOKEN_BYTES

DIRECTIONS: tuple[OneWay, ...] = ("forward", "reverse")
STAMP_PORT = 862
USAGE = "usage: python -m preflight.net.pmtu [--strict] ADDRESS [PORT [KEY-FILE]]\n"


def main(arguments: list[str]) -> int:
    """Search both directions at once and print what was found."""
    strict = arguments[:1] == ["--strict"]
    words = arguments[strict:]
    if not 1 <= len(words) <= 3:
        sys.stderr.write(USAGE)
        return 2
    address, port, key_file = (*words, *("", "")[len(words) - 1 :])
    key = read_small_file(key_file).rstrip(b"\r\n") if key_file else None
    searches = [_search(address, direction, key, strict) for direction in DIRECTIONS]
    with ExitStack() as stack:
        links = [stack.enter_context(udp.open_towards(address, int(port or STAMP_PORT))) for _ in searches]
        drive_blocking(dict(zip(links, searches, strict=True)))
    results = [search.result for search in searches if search.result]
    for result in results:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
    return 0 if all(result.fits for result in results) else 1


def _search(address: str, direction: OneWay, key: bytes | None, strict: bool) -> PathMtuSearch | StrictPathMtuSearch:
    host = HostPath()
    ceiling, token = host.device_mtu(address) or LARGEST, os.urandom(TOKEN_BYTES)
    exchange = Exchange(direction, address=address, ceiling=ceiling, token=token, key=key, reassembled=host.reassembled)
    return StrictPathMtuSearch(exchange) if strict else PathMtuSearch(exchange)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
