"""`preflight responder`: answers the probes of peers, and sends probes on request."""

import asyncio
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from preflight.cli import lean
from preflight.cli.commandline import Seconds
from preflight.files import WriteError
from preflight.proto.responder.admission import SOURCE_PER_S

if TYPE_CHECKING:
    from preflight.model.overlay import IPNetwork, OverlayState
    from preflight.proto.load.gate import Limits
    from preflight.responder.core import ResponderCore
    from preflight.responder.places import Place
    from preflight.responder.serve import Companion, ServedSocket
    from preflight.settings.load import Settings


@dataclass(frozen=True, slots=True)
class _Request:
    """The command line of a responder that is to start."""

    binds: tuple[str, ...]
    key_file: Path | None
    control_url: str | None
    config: Path | None
    allow: tuple[str, ...]
    max_rate: int
    stateless: bool
    observe: bool
    load: bool
    life: float | None


@click.command("responder")
@click.option(
    "--bind",
    "binds",
    metavar="ADDRESS[:PORT]",
    multiple=True,
    help="Where to listen; repeatable [default: the overlay's addresses, port 862 or responder.port of the settings].",
)
@click.option(
    "--key-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Shared key of at least 16 bytes: serves every sender that has it, and turns on the authenticated mode.",
)
@click.option("--control-url", metavar="URL", help="Take probe requests from the mailbox of this control plane.")
@click.option("--config", metavar="FILE", type=click.Path(path_type=Path), help="Settings file: key, mailbox, peers.")
@click.option("--allow", "allow", metavar="PREFIX", multiple=True, help="Who may ask; repeatable.")
@click.option(
    "--max-rate",
    metavar="PACKETS",
    type=click.IntRange(min=10),
    default=SOURCE_PER_S,
    show_default=True,
    help="Packets per second that one source may send; the rest is dropped and counted.",
)
@click.option(
    "--stateless",
    is_flag=True,
    help="Copy the senders' sequence numbers and report no counts: senders then cannot separate the directions.",
)
@click.option(
    "--observe",
    is_flag=True,
    help="Also report to a peer that has the key and asks by mailbox where its packets die here: station, rule, route.",
)
@click.option(
    "--load",
    is_flag=True,
    help="Also be the remote end of load for peers that have the key: seconds of TCP and UDP, as fast as they pass.",
)
@click.option("--life", type=Seconds(min_open=True), metavar="SECONDS", help="End by itself after this time.")
@click.option(
    "--pack",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the responder as one file instead, for a host that has only Python 3.9 or newer.",
)
def responder(pack: Path | None, **options: Any) -> None:
    """Answer the probes of peers until SIGTERM or Ctrl-C.

    Serves the prefixes of --allow, the peers of the settings file, the overlay's prefixes where it listens on the
    overlay's addresses, and every sender that has the key. Prints `listening on udp://ADDRESS:PORT` when it is ready;
    counters go to stderr at the end and on SIGUSR1. SIGHUP ends it too, except under `nohup`.

    With a key it sends a hello to the peers of the settings file every 3 s: a small signed packet that reports what it
    has received from them, so that they can name a dead direction when nothing else gets through. `responder: {hellos:
    false}` turns that off. It answers STUN requests that are as long as its answer, and reports to a peer the endpoint
    at which its tunnel sees that peer.

    With --observe, or `responder: {observe: true}`, it also looks at the packets of a peer whose signed request comes
    by mailbox, and reports which station of this host drops them or its own answers: a firewall's rule by its handle
    and comment, a route, a filter. It does so for the asker's own packets only.

    With --load, or `responder: {load: true}`, it listens on TCP too, at the same address and port, for `preflight all
    --tag load` of a peer that has the key. One flow runs at a time; responder.load_seconds and responder.load_megabytes
    of the settings bound it.

    With --pack FILE it starts nothing and writes FILE: `python3 FILE --bind ADDRESS` is the same responder for a host
    that has Python 3.9 or newer and nothing else. It runs for an hour, or as long as --life says, without mailbox,
    settings file and observers. `preflight all --via ssh` starts it on the peers by itself.
    """
    if pack is None:
        _start(_Request(**options))
    else:
        _write(pack)


def _start(request: _Request) -> None:
    from preflight.responder.places import ResponderError
    from preflight.settings.load import Options, load
    from preflight.settings.reading import SettingsError, read_key

    try:
        settings = load(Options(config=request.config, control_url=request.control_url))
        key = read_key(request.key_file) if request.key_file else settings.secrets.responder_key
        _run(request, settings, key, observe=request.observe or settings.responder.observe)
    except (ResponderError, SettingsError) as error:
        click.echo(f"preflight responder: {error}", err=True)
        sys.exit(2)


def _write(file: Path) -> None:
    """Write the responder as one file."""
    from preflight.responder.pack import write_pack

    try:
        write_pack(file)
    except WriteError as error:
        click.echo(f"preflight responder: {error}", err=True)
        sys.exit(2)


def _run(request: _Request, settings: "Settings", key: bytes | None, *, observe: bool) -> None:
    from preflight.overlay.read import read_overlay
    from preflight.responder import places
    from preflight.responder.assembly import Order, assemble
    from preflight.responder.lifetime import limit
    from preflight.responder.nat import Endpoints
    from preflight.responder.serve import serve

    load = _load(settings) if request.load or settings.responder.load else None
    if key is None and (observe or load is not None):
        wanted = "--observe reports" if observe else "--load gives load"
        raise places.ResponderError(f"{wanted} only to those who have the shared key: give --key-file FILE")
    where, prefixes = _provision(settings, request.binds, request.allow, keyed=key is not None)
    peers = settings.peers if settings.responder.hellos else ()
    endpoints = Endpoints(partial(read_overlay, settings.overlay, [peer.address for peer in settings.peers]))
    order = Order(key, prefixes, peers, request.max_rate, request.stateless, load)
    core, companions = assemble(order, _log, endpoints)
    companions += [endpoints.run, *_mailboxes(settings, key, core, observe)]
    companions += [limit(request.life)] if request.life else []
    sockets = places.open_all(where)
    lean.loaded()
    asyncio.run(
        serve(
            sockets,
            core,
            tuple(companions),
            announce=lambda place: click.echo(f"listening on udp://{place}"),
            log=_log,
        )
    )


def _load(settings: "Settings") -> "Limits":
    """How much load the responder takes."""
    from preflight.proto.load.gate import Limits

    wanted = settings.responder
    return Limits(seconds=wanted.load_seconds, hour_bytes=wanted.load_megabytes * 1_000_000)


def _provision(
    settings: "Settings", binds: tuple[str, ...], allow: tuple[str, ...], *, keyed: bool
) -> "tuple[list[Place], tuple[IPNetwork, ...]]":
    """Where to listen and whom to serve. Reads the overlay only if no address is given."""
    from preflight.responder import places

    where = [places.read_place(text) for text in binds]
    prefixes = [places.read_prefix(text) for text in allow]
    peers = [peer.address for peer in settings.peers]
    state = None
    if not where:
        from preflight.overlay.read import read_overlay

        state = asyncio.run(read_overlay(settings.overlay, peers))
        where = places.overlay_places(state, settings.responder.port)
    return where, places.provisioned(prefixes, peers, places.overlay_prefixes(state), keyed=keyed)


def _mailboxes(settings: "Settings", key: bytes | None, core: "ResponderCore", observe: bool) -> "Iterator[Companion]":
    """The mailbox, if one is set, with observers if they are wanted."""
    agent_id = settings.responder.agent_id
    if settings.control.url is not None and agent_id is not None:
        yield _mailbox(settings, agent_id, key, core, observe)
    elif settings.control.url is not None:
        _log("the mailbox is not polled: set responder.agent_id in the settings file")


def _mailbox(
    settings: "Settings", agent_id: str, key: bytes | None, core: "ResponderCore", observe: bool
) -> "Companion":
    """The companion that polls the mailbox."""
    from preflight.net import Net
    from preflight.overlay.read import read_overlay
    from preflight.responder.mailbox import Mailbox, blind, send_probes

    mailbox = Mailbox(Net(settings).control, agent_id, key, core, _log)
    if not observe:
        return lambda listeners: mailbox.run(partial(send_probes, listeners), blind)
    from preflight.responder.observing import Observers

    def observed(listeners: "Sequence[ServedSocket]") -> "Coroutine[Any, Any, None]":
        async def read(addresses: "Sequence[str]", interface: str | None) -> "OverlayState | None":
            named = {} if interface is None else {"interface": interface}
            return await read_overlay(settings.overlay.model_copy(update=named), addresses)

        observers = Observers(listeners, read, settings.peers, time.monotonic())
        return mailbox.run(partial(send_probes, listeners), observers.look)

    return observed


def _log(text: str) -> None:
    """Print it if standard error still works: a terminal that hung up takes nothing."""
    with suppress(OSError):
        click.echo(f"preflight responder: {text}", err=True)
