"""`preflight exporter`: a Prometheus multi-target endpoint; a scrape of a target runs the checks of that peer."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from preflight.cli.commandline import words
from preflight.cli.ending import run_to_end
from preflight.cli.request import Request
from preflight.model.host_port import join_host_port

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as Scrape
    from starlette.responses import Response

    from preflight.api import Peer
    from preflight.cli.session import Session
    from preflight.engine.plan import Plan

DEFAULT_BIND = "127.0.0.1:9849"
ABOUT_PEERS = "everything about peers"
MOST_SCRAPERS = 64
"""Connections at a time."""
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@click.command("exporter", short_help="A Prometheus endpoint that runs the checks of a target.")
@click.option("--bind", "bind_to", default=DEFAULT_BIND, show_default=True, metavar="ADDRESS:PORT")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings [./preflight.yaml].")
def exporter(bind_to: str, config: Path | None) -> None:
    """Serve `/probe?target=PEER` until SIGTERM or Ctrl-C: each scrape runs the checks of that peer.

    PEER is the name or address of a peer of the settings: a request cannot make this node probe anything else. Without
    a target the checks of the node and its control plane run. One scrape measures at a time. This command only reads.
    """
    from preflight.cli.session import Session
    from preflight.control.bind import BindError

    session = Session.prepare(Request(command=words(click.get_current_context()), config=config, quiet=True))
    try:
        _serve(make_app(session), bind_to, lambda url: click.echo(f"listening on {url}"))
    except BindError as error:
        click.echo(f"preflight exporter: {error}", err=True)
        sys.exit(2)


def halves(plan: "Plan") -> "tuple[Plan, Plan]":
    """The checks about peers with what they need, and all others; either may be empty."""
    ids = {check.id for check in plan.checks}
    about_peers = {check.id for check in plan.checks if check.subject == "peer"}
    path = plan.part(plan.with_needs(about_peers))
    # A check that these only need says nothing about the peer.
    return replace(path, asked={ABOUT_PEERS: frozenset(about_peers)}), plan.part(ids - about_peers)


def make_app(session: "Session") -> "Starlette":
    """The endpoint: a target is measured by the checks about peers, the node by the others."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    path, node = (replace(session, plan=plan) for plan in halves(session.plan))
    peers = session.settings.peers
    known = {name: peer for peer in peers for name in (peer.address, peer.target)}
    turn = asyncio.Lock()

    async def probe(request: "Scrape") -> "Response":
        target = request.query_params.get("target")
        if target is not None and target not in known:
            names = ", ".join(peer.target for peer in peers) or "none"
            return PlainTextResponse(f"the settings have no such peer; they have: {names}\n", status_code=400)
        chosen = node if target is None else _towards(path, known[target])
        if not chosen.plan.checks:
            return PlainTextResponse("the settings leave no check to run for this target\n", status_code=404)
        async with turn:
            text = await _measured(chosen)
        return PlainTextResponse(text, media_type=OPENMETRICS)

    async def index(request: "Scrape") -> "Response":
        return PlainTextResponse("preflight exporter: scrape /probe?target=PEER, or /probe for the node itself\n")

    return Starlette(routes=[Route("/probe", probe), Route("/", index)])


def _towards(session: "Session", peer: "Peer") -> "Session":
    return replace(session, settings=replace(session.settings, peers=(peer,)))


async def _measured(session: "Session") -> str:
    """One run of a session's checks, as redacted OpenMetrics."""
    from preflight.report import openmetrics

    measured = await session.measured(lambda event: None, asyncio.Event())
    return openmetrics.render(session.redactor(measured.names).report(measured.report))


def _serve(app: "Starlette", bind_to: str, announce: Callable[[str], None]) -> None:
    """Serve until a signal. Raises BindError."""
    import uvicorn

    from preflight.control import bind
    from preflight.control.guard import Door, GuardedServer
    from preflight.control.guests import Caps, Guests
    from preflight.control.serve import GRACE_S, stop_cleanly_from_now_on

    stop_cleanly_from_now_on()
    listeners = [bind.listen(place) for place in bind.places(bind_to)]
    places = [listener.getsockname()[:2] for listener in listeners]

    def ready() -> None:
        for host, port in places:
            announce(f"http://{join_host_port(host, port)}")

    config = uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,  # a signal must not wait for a scrape that is measuring
    )
    doors = [Door(listener, config) for listener in listeners]
    run_to_end(GuardedServer(doors, ready, Guests(Caps(MOST_SCRAPERS))).serve())
