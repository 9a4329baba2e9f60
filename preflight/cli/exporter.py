"""`preflight exporter`: a Prometheus multi-target endpoint. It measures in the background; a scrape never waits."""

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
from preflight.cli.rounds import Found, Rounds
from preflight.model.host_port import join_host_port

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as Scrape
    from starlette.responses import Response

    from preflight.api import Peer
    from preflight.cli.session import Session
    from preflight.engine.plan import Plan

DEFAULT_BIND = "127.0.0.1:9849"
DEFAULT_INTERVAL_S = 60.0
ABOUT_PEERS = "everything about peers"
MOST_SCRAPERS = 64
"""Connections at a time."""
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
NODE = ""
"""The target that is this node with its control plane: it has no name in a scrape."""


@click.command("exporter", short_help="A Prometheus endpoint: its targets, measured all the time.")
@click.option("--bind", "bind_to", default=DEFAULT_BIND, show_default=True, metavar="ADDRESS:PORT")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=1),
    default=DEFAULT_INTERVAL_S,
    show_default=True,
    metavar="SECONDS",
    help="The least time between two runs of one target.",
)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings [./preflight.yaml].")
def exporter(bind_to: str, interval_s: float, config: Path | None) -> None:
    """Serve `/probe?target=PEER` until SIGTERM or Ctrl-C: what was last found of that peer, with its age.

    PEER is the name or address of a peer of the settings: a request cannot make this node probe anything, and a scrape
    never waits for a measurement. Without a target it is about the node and its control plane. `/metrics` is about the
    exporter, `/-/healthy` says that it lives. One target is measured at a time. This command only reads.
    """
    from preflight.cli.session import Session
    from preflight.control.bind import BindError

    session = Session.prepare(Request(command=words(click.get_current_context()), config=config, quiet=True))
    rounds = make_rounds(session, interval_s)
    try:
        _serve(make_app(session, rounds), rounds, bind_to, lambda url: click.echo(f"listening on {url}"))
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


def make_rounds(session: "Session", interval_s: float) -> Rounds[str]:
    """The targets by address: a peer is measured by the checks about peers, the node by all others."""
    path, node = (replace(session, plan=plan) for plan in halves(session.plan))
    peers = session.settings.peers if path.plan.checks else ()
    sessions = {NODE: node} if node.plan.checks else {}
    sessions |= {peer.address: _towards(path, peer) for peer in peers}
    return Rounds(tuple(sessions), lambda target: _measured(sessions[target]), interval_s)


def make_app(session: "Session", rounds: Rounds[str]) -> "Starlette":
    """The endpoint: a scrape calls a peer by its name or its address."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from preflight.report import openmetrics

    peers = session.settings.peers
    addresses = {name: peer.address for peer in peers for name in (peer.address, peer.target)}

    async def probe(request: "Scrape") -> "Response":
        target = request.query_params.get("target")
        if target is not None and target not in addresses:
            names = ", ".join(peer.target for peer in peers) or "none"
            return PlainTextResponse(f"the settings have no such peer; they have: {names}\n", status_code=400)
        chosen = NODE if target is None else addresses[target]
        if chosen not in rounds.targets:
            return PlainTextResponse("the settings leave no check to run for this target\n", status_code=404)
        found = rounds.found.get(chosen)
        text = openmetrics.with_gauges(found.text if found else "", _state(rounds, found))
        return PlainTextResponse(text, media_type=OPENMETRICS)

    async def metrics(request: "Scrape") -> "Response":
        return PlainTextResponse(openmetrics.with_gauges("", _own(rounds)), media_type=OPENMETRICS)

    async def healthy(request: "Scrape") -> "Response":
        return PlainTextResponse("preflight exporter is healthy\n")

    async def index(request: "Scrape") -> "Response":
        return PlainTextResponse("preflight exporter: scrape /probe?target=PEER, or /probe for the node itself\n")

    routes = {"/probe": probe, "/metrics": metrics, "/-/healthy": healthy, "/": index}
    return Starlette(routes=[Route(path, answer) for path, answer in routes.items()])


def _state(rounds: Rounds[str], found: Found | None) -> dict[str, tuple[str, float]]:
    """What a scrape of a target says in addition to the results: until the first run only that there are none."""
    pending = {"preflight_pending": ("1 until the target was measured for the first time.", float(found is None))}
    if found is None:
        return pending
    return pending | {
        "probe_success": ("1 if nothing failed.", float(found.good)),
        "probe_duration_seconds": ("How long the measurement took.", found.ended_s - found.began_s),
        "preflight_result_age_seconds": ("How long ago the measurement ended.", rounds.age_s(found)),
    }


def _own(rounds: Rounds[str]) -> dict[str, tuple[str, float]]:
    ages = [rounds.age_s(found) for found in rounds.found.values()]
    bad = sum(not found.good for found in rounds.found.values())
    return {
        "preflight_exporter_targets": ("Targets that are measured.", len(rounds.targets)),
        "preflight_exporter_pending_targets": ("Targets without a result.", len(rounds.targets) - len(ages)),
        "preflight_exporter_bad_targets": ("Targets of which something failed.", bad),
        "preflight_exporter_oldest_result_age_seconds": ("The age of the oldest result.", max(ages, default=0.0)),
    }


def _towards(session: "Session", peer: "Peer") -> "Session":
    return replace(session, settings=replace(session.settings, peers=(peer,)))


async def _measured(session: "Session") -> tuple[str, bool]:
    """One run of a session's checks as redacted OpenMetrics, and whether nothing failed."""
    from preflight.report import openmetrics

    measured = await session.measured(lambda event: None, asyncio.Event())
    good = measured.report.verdict not in ("fail", "error")
    return openmetrics.render(session.redactor(measured.names).report(measured.report)), good


def _serve(app: "Starlette", rounds: Rounds[str], bind_to: str, announce: Callable[[str], None]) -> None:
    """Measure and serve until a signal. Raises BindError."""
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
        timeout_graceful_shutdown=GRACE_S,
    )
    doors = [Door(listener, config) for listener in listeners]
    server = GuardedServer(doors, ready, Guests(Caps(MOST_SCRAPERS)))

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            measuring = group.create_task(rounds.run())
            await server.serve()
            measuring.cancel()

    run_to_end(both())
