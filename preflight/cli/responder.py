"""`preflight responder`: answers the probes of peers, and sends probes on request."""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from preflight.proto.responder.admission import SOURCE_PER_S, Admission, Limits

if TYPE_CHECKING:
    from preflight.model.overlay import IPNetwork, OverlayState
    from preflight.proto.stamp.reflector import SessionReflector
    from preflight.responder.core import ResponderCore
    from preflight.responder.places import Place
    from preflight.responder.serve import Companion, ServedSocket
    from preflight.responder.tracer import Tracer
    from preflight.settings.load import Settings


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
def responder(
    binds: tuple[str, ...],
    key_file: Path | None,
    control_url: str | None,
    config: Path | None,
    allow: tuple[str, ...],
    max_rate: int,
    stateless: bool,
    observe: bool,
) -> None:
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
    """
    from preflight.responder.places import ResponderError
    from preflight.settings.load import Options, load
    from preflight.settings.reading import SettingsError, read_key

    try:
        settings = load(Options(config=config, control_url=control_url))
        key = read_key(key_file) if key_file else settings.secrets.responder_key
        observe = observe or settings.responder.observe
        _run(settings, key, binds, allow, max_rate=max_rate, stateless=stateless, observe=observe)
    except (ResponderError, SettingsError) as error:
        click.echo(f"preflight responder: {error}", err=True)
        sys.exit(2)


def _run(
    settings: "Settings",
    key: bytes | None,
    binds: tuple[str, ...],
    allow: tuple[str, ...],
    *,
    max_rate: int,
    stateless: bool,
    observe: bool,
) -> None:
    from preflight.net.responder.return_path import preload
    from preflight.net.stamp.path import clock_estimate
    from preflight.proto.stamp.reflector import SessionReflector
    from preflight.responder import places
    from preflight.responder.serve import keep_clock, serve

    if observe and key is None:
        raise places.ResponderError("--observe reports only to those who have the shared key: give --key-file FILE")
    where, prefixes = _provision(settings, binds, allow, keyed=key is not None)
    reflector = SessionReflector(key=key, stateful=not stateless, error=clock_estimate())
    core, tracer = _core(settings, key, prefixes, reflector, max_rate)
    preload()
    sockets = places.open_all(where)
    asyncio.run(
        serve(
            sockets,
            core,
            (tracer.run, lambda _: keep_clock(reflector), *_companions(settings, key, core, observe)),
            announce=lambda place: click.echo(f"listening on udp://{place}"),
            log=_log,
        )
    )


def _core(
    settings: "Settings",
    key: bytes | None,
    prefixes: "tuple[IPNetwork, ...]",
    reflector: "SessionReflector",
    max_rate: int,
) -> "tuple[ResponderCore, Tracer]":
    """The core with everything that answers at once, and the tracer, which may also send later."""
    from preflight.net.pmtu.host import HostPath
    from preflight.proto.pmtu.wire import ProbeServer
    from preflight.proto.responder.reverse_trace import MAGIC as TRACE
    from preflight.proto.responder.reverse_trace import TraceServer
    from preflight.responder.core import ResponderCore
    from preflight.responder.tracer import Tracer

    now = time.monotonic()

    def refused(address: str, reason: str, at: float) -> None:
        core.refused(address, reason, at)

    tracer = Tracer(TraceServer(key, os.urandom(32), now), refused)
    core = ResponderCore(
        admission=Admission(prefixes, Limits(max_rate), now),
        reflector=reflector,
        probes=ProbeServer(key, os.urandom(32), HostPath()),
        key=key,
        agent_id=settings.responder.agent_id,
        now=now,
        services={TRACE: tracer.serve},
    )
    return core, tracer


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


def _companions(settings: "Settings", key: bytes | None, core: "ResponderCore", observe: bool) -> "Iterator[Companion]":
    """What runs in parallel with the listeners.

    Delayed packets for NAT tests; hellos, if there are peers and a key; the mailbox, if one is set, with observers if
    they are wanted.
    """
    from preflight.overlay.read import read_overlay
    from preflight.proto.stun import binding as stun
    from preflight.proto.stun import nat
    from preflight.responder.nat import Endpoints, NatService
    from preflight.responder.stun import StunService

    for magic in stun.magics():
        core.serve(magic, StunService(core, key).handle)
    endpoints = Endpoints(partial(read_overlay, settings.overlay, [peer.address for peer in settings.peers]))
    promises = nat.NatServer(key, endpoints)
    service = NatService(core, promises)
    core.serve(nat.MAGIC, service.handle)
    yield endpoints.run
    yield service.run
    if key is not None and settings.peers and settings.responder.hellos:
        from preflight.proto.responder import hello
        from preflight.responder.hellos import Hellos

        hellos = Hellos(core, key, settings.peers, promises.wants_silence, _log)
        core.serve(hello.MAGIC, hellos.handle)
        yield hellos.run
    agent_id = settings.responder.agent_id
    if settings.control.url is not None and agent_id is not None:
        yield _mailbox(settings, agent_id, key, core, observe)
    elif settings.control.url is not None:
        _log("the mailbox is not polled: set responder.agent_id in the settings file")


def _mailbox(
    settings: "Settings", agent_id: str, key: bytes | None, core: "ResponderCore", observe: bool
) -> "Companion":
    """The companion that polls the mailbox."""
    from preflight.net.control.client import ControlClient
    from preflight.overlay.read import read_overlay
    from preflight.responder.mailbox import Mailbox, blind
    from preflight.responder.serve import send_probes

    mailbox = Mailbox(ControlClient.from_settings(settings), agent_id, key, core, _log)
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
