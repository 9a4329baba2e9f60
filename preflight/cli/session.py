"""One run from request to report: the flow of the program on one screen."""

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, NamedTuple, cast, get_args
from urllib.parse import urlsplit

import click

from preflight.api import NODE, Context, Direction, Peer, Result, Status, codes
from preflight.cli.ending import run_to_end
from preflight.cli.progress import progress
from preflight.cli.request import Request
from preflight.engine.catalog import OURS, load_catalog
from preflight.engine.diagnosis import diagnose
from preflight.engine.placement import place
from preflight.engine.plan import Plan, Selection, SelectionError, make_plan
from preflight.engine.runner import Listener, Outcome, Runner
from preflight.files import Attempts
from preflight.model.overlay import OverlayState
from preflight.model.plugins import BrokenPlugin
from preflight.net import Net
from preflight.proto.control.enroll import spare_prefix
from preflight.proto.tunnel.wireguard import REJECT_AFTER_S
from preflight.report.model import Gate, LabKind, Report, build_report
from preflight.report.node import node_info, overlay_info
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.redact import Redactor
from preflight.settings.load import Options, Settings, SettingsError, known_secrets, load
from preflight.settings.peers import peer_address, peer_name

if TYPE_CHECKING:
    from preflight.net.recorder import Packet, Recorder

LAB_VARIABLE = "PREFLIGHT_LAB_KIND"
"""Set by the lab for programs in it: its kind, for the report."""


class Measured(NamedTuple):
    """A report as it was measured; the host names that it may contain; and capture files by result id."""

    report: Report
    names: tuple[str, ...]
    captures: dict[str, bytes] = {}  # noqa: RUF012 - nobody adds to it


@dataclass(frozen=True)
class Session:
    """Everything decided before the first packet."""

    request: Request
    settings: Settings
    plan: Plan
    broken: tuple[BrokenPlugin, ...]
    lab: LabKind | None = None

    @classmethod
    def prepare(cls, request: Request) -> "Session":
        """Read the settings and plan the run. Raises click.UsageError before anything runs."""
        try:
            settings = load(
                Options(
                    config=request.config,
                    peers=tuple(parse_peer(text) for text in request.peers),
                    control_url=request.control_url,
                    redact=request.redact,
                    enroll=request.enroll,
                    intrusive=request.intrusive,
                    bootstrap_token_file=request.bootstrap_token_file,
                    credentials_out=request.credentials_out,
                )
            )
            catalog = load_catalog(third_party=settings.checks.third_party)
            selection = Selection(
                request.named,
                request.only,
                request.skip,
                request.tags,
                skip_in_file=settings.checks.skip,
                file=str(settings.source),
            )
            return cls(request, settings, make_plan(catalog.checks, selection), catalog.broken, _lab_kind(os.environ))
        except (SettingsError, SelectionError) as error:
            raise click.UsageError(str(error)) from None

    def run(self, folder: Path, attempts: Attempts) -> Report:
        """Run the plan, diagnose, and put the report together, without secrets.

        folder: where to make a folder for captures. attempts: remember failed writes.
        """
        report, names, files = self.unredacted()
        redactor = self.redactor(names)
        if files:
            from preflight.evidence.capture import keep

            with attempts.one():
                return keep(report, files, folder, redactor)
        return redactor.report(report)

    def redactor(self, names: Iterable[str]) -> Redactor:
        """The redactor of secrets and, if requested, of addresses and these names, for the report and its files.

        One for the session, so that pseudonyms are consistent in all its output, including a baseline.
        """
        self._redactor.know(names)
        return self._redactor

    @cached_property
    def _redactor(self) -> Redactor:
        pseudonyms = Pseudonyms() if "addresses" in self.settings.report.redact else None
        return Redactor(known_secrets(self.settings, os.environ), pseudonyms)

    def names(self, report: Report, overlay: OverlayState | None = None) -> tuple[str, ...]:
        """Names of hosts in a report: this node's, the peers', those of the control URL, and what the overlay says."""
        names = [peer.name for peer in overlay.peers] if overlay else []
        targets = [peer.target for peer in report.run.peers if peer.target != peer.address]
        own = report.run.node.hostname
        # A short name is not searched inside others: in the ids of our nodes it has a known place.
        return (own, spare_prefix(own), *targets, *names, *url_hosts(self.settings.control.url))

    def unredacted(self) -> Measured:
        """The measurements: never show them before redaction.

        Raises click.UsageError if packets may not be captured.
        """

        async def once() -> Measured:
            return await self.measured(listener, interruption())

        with progress(quiet=self.request.quiet, no_color=self.request.no_color) as listener:
            return run_to_end(once())

    async def measured(self, listener: Listener, interrupted: asyncio.Event) -> Measured:
        """Like `measure`, within a running event loop; `interrupted` ends the run."""
        started_at, began = datetime.now(UTC), perf_counter()
        outcome, overlay, packets = await self._measure(listener, interrupted)
        results = (*outcome.results, *map(plugin_result, self.broken))
        peers = overlay_peers(self.settings, overlay)
        report = build_report(
            results,
            diagnose(results, control_host(self.settings, overlay, peers, results)),
            placement=place(results, self.settings.thresholds),
            node=node_info(),
            overlay=overlay_info(overlay),
            started_at=started_at,
            duration_ms=(perf_counter() - began) * 1000,
            gate=Gate(
                fail_on=cast("Literal['fail', 'warn']", self.request.fail_on),
                allow_inconclusive=self.request.allow_inconclusive,
            ),
            command=self.request.command,
            lab=self.lab,
            asked=self.plan.asked,
            interrupted=outcome.interrupted or interrupted.is_set(),
            peers=peers,
        )
        names = self.names(report, overlay)
        if not packets:
            return Measured(report, names)
        from preflight.evidence.capture import captures

        return Measured(report, names, captures(report, packets, url_hosts(self.settings.control.url)))

    async def _measure(
        self, listener: Listener, interrupted: asyncio.Event
    ) -> "tuple[Outcome, OverlayState | None, tuple[Packet, ...]]":
        net = Net(self.settings)
        overlay = await net.overlay()
        context = Context(self.settings, overlay_peers(self.settings, overlay), overlay, net)
        recorder = self._recorder(context) if self.request.capture else None
        try:
            outcome = await self._repeat(context, listener, interrupted)
        finally:
            await net.aclose()
            if recorder:
                recorder.stop()
        return outcome, overlay, tuple(recorder.packets) if recorder else ()

    def _recorder(self, context: Context) -> "Recorder | None":
        """A recorder of this run's packets on the overlay; None without an overlay. Raises click.UsageError."""
        from preflight.net.recorder import Recorder

        if context.overlay is None or context.overlay.interface is None:
            return None
        url = urlsplit(self.settings.control.url or "")
        ports = {*(peer.responder_port for peer in context.peers), url.port or 80}
        others = [*(peer.address for peer in context.peers), *filter(_is_address, url_hosts(self.settings.control.url))]
        try:
            recorder = Recorder(context.overlay.interface, others, ports)
        except PermissionError:
            raise click.UsageError("--capture needs root or CAP_NET_RAW") from None
        except OSError as error:
            raise click.UsageError(f"--capture: {context.overlay.interface}: {error.strerror}") from None
        recorder.start()
        return recorder

    async def _repeat(self, context: Context, listener: Listener, interrupted: asyncio.Event) -> Outcome:
        """Run once; with --wait repeat what is not good, until it is or the time is up."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        first = Runner(self.plan, context, listener, interrupted=interrupted, timeout_s=self.request.timeout)
        outcome = await first.run()
        attempts, pause = 1, 1.0
        while again := bad_checks(self.plan, outcome.results):
            left = self.request.wait - (loop.time() - began)
            if left <= 0 or await _interrupted_within(interrupted, min(pause, left)):
                break
            # Not so often that waiting becomes load: from one second up to ten.
            pause, attempts = min(pause * 2, 10.0), attempts + 1
            overlay = await context.net.overlay()
            fresh = replace(context, overlay=overlay, peers=overlay_peers(self.settings, overlay))
            runner = Runner(again, fresh, listener, interrupted=interrupted, timeout_s=max(left, 1.0))
            outcome = merge(outcome, await runner.run(), attempts)
        return outcome


def _lab_kind(environ: Mapping[str, str]) -> LabKind | None:
    """The kind of the lab that this runs in, if any. Raises SettingsError."""
    value = environ.get(LAB_VARIABLE) or None
    kind = next((kind for kind in get_args(LabKind) if kind == value), None)
    if kind != value:
        raise SettingsError(f"{LAB_VARIABLE} is set by the lab for programs in it, to one of {get_args(LabKind)}")
    return kind


def interruption() -> asyncio.Event:
    """An event that Ctrl-C or SIGTERM sets from now on, until the running event loop ends."""
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    return interrupted


def parse_peer(text: str) -> Peer:
    """`ADDRESS[=NAME]` from the command line. Raises SettingsError."""
    address, _, name = text.partition("=")
    try:
        return Peer(address=peer_address(address), name=peer_name(name))
    except ValueError as error:
        shown = text if text.isprintable() else repr(text)
        raise SettingsError(f"--peer {shown}: {error} (ADDRESS[=NAME], as 10.66.0.2=b)") from None


def overlay_peers(settings: Settings, overlay: OverlayState | None) -> tuple[Peer, ...]:
    """The peers in the settings, else those with a single address in the overlay's state; never this node.

    So one settings file can serve every node of a cluster.
    """
    if overlay is None:
        return settings.peers
    own = {str(interface.ip) for interface in overlay.addresses}
    if settings.peers or not overlay.lists_members:
        return tuple(peer for peer in settings.peers if peer.address not in own)
    singles = (
        (peer, next((n for n in peer.addresses if n.prefixlen == n.max_prefixlen), None)) for peer in overlay.peers
    )
    return tuple(
        Peer(str(network.network_address), _name_of(peer.name)) for peer, network in singles if network is not None
    )


def _name_of(name: str) -> str:
    """The overlay's name of a peer; empty if it is not a valid target."""
    try:
        return peer_name(name)
    except ValueError:
        return ""


def control_host(
    settings: Settings, overlay: OverlayState | None, peers: Sequence[Peer], results: Iterable[Result]
) -> str | None:
    """Target name of the peer whose tunnel leads to the control plane, if known.

    It is the peer that owns one of its addresses. If no peer does and the address is on the overlay, a fault of the
    tunnels to *all* peers also affects the control plane, and the first of them represents it, unless the tunnel to the
    control plane has a known session.
    """
    results = tuple(results)
    addresses = set(url_hosts(settings.control.url))
    for result in results:
        found = result.measurements.get("addresses") if result.check == "control.dns" else None
        if isinstance(found, list | tuple):
            addresses |= {str(address) for address in found}
    owner = next((peer.target for peer in peers if peer.address in addresses), None)
    if owner is not None or overlay is None or not any(_covered(overlay, address) for address in addresses):
        return owner
    ages = (r.measurements.get("tunnel_handshake_age_s") for r in results if r.check == "control.connect")
    if any(isinstance(age_s, int | float) and age_s <= REJECT_AFTER_S for age_s in ages):
        return None
    dead = [r.target for r in results if r.check == "overlay.session" and r.status is Status.FAIL]
    return dead[0] if dead and set(dead) == {peer.target for peer in peers} else None


def _covered(overlay: OverlayState, host: str) -> bool:
    try:
        return overlay.covers(host)
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def url_hosts(url: str | None) -> tuple[str, ...]:
    """The host of the control URL, as written; nothing if it has none."""
    try:
        host = urlsplit(url if "//" in (url or "") else f"//{url or ''}").hostname
    except ValueError:
        host = None
    return (str(host),) if host else ()


async def _interrupted_within(interrupted: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await interrupted.wait()
    except TimeoutError:
        return False


def bad_checks(plan: Plan, results: Iterable[Result]) -> Plan | None:
    """The part of the plan that is worth repeating: bad results, and what they block."""
    bad = {r.check for r in results if r.status in (Status.FAIL, Status.INCONCLUSIVE) or r.blocked_by}
    # A bootstrap token is good for one exchange: an enrolment that began is never repeated.
    entered = {r.check for r in results if r.category == "enroll" and not r.blocked_by}
    again = plan.part(bad - entered)
    return again if again.checks else None


def merge(first: Outcome, later: Outcome, attempts: int) -> Outcome:
    """Replace the earlier results of the repeated checks.

    An interrupted attempt decides nothing: a check that failed before stays failed.
    """
    failed = {result.check for result in first.results if result.status is Status.FAIL}
    cut_off = {r.check for r in later.results if r.code in (codes.RUN_TIMEOUT, codes.RUN_INTERRUPTED)}
    later = Outcome(tuple(r for r in later.results if r.check not in failed & cut_off), later.interrupted)
    repeated = {result.check for result in later.results}
    fresh: dict[str, list[Result]] = {}
    for result in later.results:
        fresh.setdefault(result.check, []).append(replace(result, attempts=max(result.attempts, attempts)))
    merged: list[Result] = []
    for result in first.results:
        if result.check not in repeated:
            merged.append(result)
        elif result.check in fresh:
            merged += fresh.pop(result.check)
    return Outcome(tuple(merged), later.interrupted)


def plugin_result(broken: BrokenPlugin) -> Result:
    """A module that could not be loaded: a warning. If it is ours, checks are missing, so the run cannot be good."""
    ours = broken.origin == OURS
    return Result(
        check="run.plugins",
        category="run",
        target=NODE,
        direction=Direction.LOCAL,
        aspect=broken.name,
        status=Status.ERROR if ours else Status.WARN,
        code=codes.RUN_CHECK_ERROR if ours else codes.RUN_PLUGIN_BROKEN,
        message=f"{broken.name} of {broken.origin} could not be loaded: {broken.reason}",
        remedy=f"pip install --upgrade {broken.origin}",
        started_at=datetime.now(UTC),
    )
