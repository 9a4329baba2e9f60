"""The command of the responder in one file: what `python3 FILE` runs, and what `preflight all --via ssh` starts.

It has the standard library of Python 3.9 alone. `preflight.responder.pack` makes the file.
"""

import argparse
import asyncio
import errno
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from preflight.model.host_port import split_host_port
from preflight.model.peer import RESPONDER_PORT, Peer
from preflight.proto.load.gate import Limits
from preflight.proto.responder import remote_words as words
from preflight.proto.responder.admission import SOURCE_PER_S
from preflight.proto.responder.frame import shared_key
from preflight.responder import lifetime, places
from preflight.responder.assembly import Order, assemble
from preflight.responder.lifetime import LIFE_S
from preflight.responder.serve import Companion, serve


def main(arguments: Sequence[str]) -> int:
    """Answer until a signal comes, or until the time is over. The exit code: 2 if it could not start."""
    try:
        if list(arguments) == [words.ORDERED]:
            return _by_order(json.loads(sys.stdin.buffer.readline()))
        return _by_options(_parser().parse_args(arguments))
    except places.ResponderError as error:
        _log(str(error))
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="responder", description="Answer the probes of peers until SIGTERM, Ctrl-C, or the end of its time."
    )
    add = parser.add_argument
    add("--bind", action="append", required=True, metavar="ADDRESS[:PORT]", help="Where to listen; repeatable.")
    add("--key-file", type=Path, metavar="FILE", help="Shared key, at least 16 bytes: serves every sender that has it.")
    add("--allow", action="append", default=[], metavar="PREFIX", help="Who may ask; repeatable.")
    add("--peer", action="append", default=[], metavar="ADDRESS[:PORT]", help="Who gets hellos, with a key.")
    add("--max-rate", type=int, default=SOURCE_PER_S, metavar="PACKETS", help="Per second, of one source.")
    add("--stateless", action="store_true", help="Copy the senders' sequence numbers and report no counts.")
    add("--load", action="store_true", help="Also be the remote end of load for a peer that has the key.")
    add("--life", type=float, default=LIFE_S, metavar="SECONDS", help=f"When it ends by itself [{LIFE_S}].")
    return parser


def _by_options(options: argparse.Namespace) -> int:
    key = _key(options.key_file) if options.key_file else None
    prefixes = [places.read_prefix(text) for text in options.allow]
    order = Order(
        key,
        places.provisioned(prefixes, [], [], keyed=key is not None),
        tuple(map(_peer, options.peer)),
        max(options.max_rate, 10),
        options.stateless,
        Limits() if options.load else None,
    )
    if options.load and key is None:
        raise places.ResponderError("--load gives load only to those who have the shared key: give --key-file FILE")
    sockets = places.open_all([places.read_place(text) for text in options.bind])
    asyncio.run(_serve(order, sockets, _announce, [lifetime.limit(options.life)]))
    return 0


def _by_order(order: "dict[str, Any]") -> int:
    """What the starting side wants: it sees the lines that begin with the mark, and ends this by its standard input.

    A port that this user may not open is replaced by one that the kernel chooses; the lines say which.
    """
    place = places.read_place(order["bind"])
    try:
        sockets = places.open_all([place], free_port=True)
    except places.ResponderError as error:
        _tell(_reason(place, error))
        return 2
    limits = Limits() if order["load"] else None
    with_key = Order(bytes.fromhex(order["key"]), (), tuple(map(_peer, order["peers"])), load=limits)
    ends = [lifetime.limit(float(order["life_s"])), lifetime.while_open(sys.stdin.fileno())]
    asyncio.run(_serve(with_key, sockets, lambda place: _tell(f"{words.LISTENING} {place}"), ends))
    return 0


def _reason(place: places.Place, error: places.ResponderError) -> str:
    if error.number == errno.EADDRINUSE:
        return f"{words.TAKEN} {place.port}"
    return words.ABSENT if error.number == errno.EADDRNOTAVAIL else f"{words.ERROR} {error}"


async def _serve(
    order: Order, sockets: "list[Any]", announce: Callable[[str], None], ends: Sequence[Companion]
) -> None:
    """Until one of `ends` is over."""
    core, companions = assemble(order, _log)  # in the event loop: before Python 3.10 its parts belong to one
    await serve(sockets, core, (*companions, *ends), announce=announce, log=_log)


def _key(path: Path) -> bytes:
    try:
        return shared_key(path.read_bytes())
    except OSError as error:
        raise places.ResponderError(f"--key-file {path}: {error.strerror}") from None
    except ValueError as error:
        raise places.ResponderError(f"--key-file {path} {error}") from None


def _peer(text: str) -> Peer:
    try:
        host, port = split_host_port(text, RESPONDER_PORT)
        return Peer(str(ip_address(host)), responder_port=port)
    except ValueError:
        raise places.ResponderError(f"--peer {text}: expected ADDRESS[:PORT] with a literal address") from None


def _announce(place: str) -> None:
    _say(f"listening on udp://{place}")


def _tell(text: str) -> None:
    _say(f"{words.MARK}{text}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _log(text: str) -> None:
    """Print it if standard error still works: what started this may have gone."""
    with suppress(OSError):
        sys.stderr.write(f"preflight responder: {text}\n")
        sys.stderr.flush()
