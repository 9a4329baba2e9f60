"""One run from request to report: the flow of the program on one screen."""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import click

from preflight.api import Context
from preflight.cli import lean
from preflight.cli.ending import interrupted_within, interruption, run_to_end
from preflight.cli.in_lab import lab_kind
from preflight.cli.progress import progress
from preflight.cli.recording import control_addresses as filtered_addresses
from preflight.cli.recording import start_recording
from preflight.cli.request import Request
from preflight.cli.via_ssh import Lent, lending, run_key
from preflight.engine.catalog import broken_result, load_catalog
from preflight.engine.control_host import behind_one_end, control_addresses, control_host, sharing_its_way
from preflight.engine.diagnosis import diagnose, tell_causes
from preflight.engine.placement import place
from preflight.engine.plan import Plan, Selection, SelectionError, make_plan
from preflight.engine.repeat import merge, plan_again
from preflight.engine.runner import Outcome, ProgressListener, Runner
from preflight.evidence.capture import captures, keep
from preflight.files import Attempts
from preflight.model import event
from preflight.model.overlay import OverlayState
from preflight.model.plugins import BrokenPlugin
from preflight.net import Net
from preflight.programs import own_age_s
from preflight.proto.control.own_row import spare_prefix
from preflight.report.acceptance import Known, is_accepted
from preflight.report.build import build_report
from preflight.report.model import Gate, LabKind, Report
from preflight.report.node import node_info, overlay_info
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.redact import Redactor
from preflight.settings.load import Options, Settings, load
from preflight.settings.peers import overlay_peers
from preflight.settings.reading import SettingsError
from preflight.settings.secrets import known_secrets

if TYPE_CHECKING:
    from preflight.net.recorder import Packet


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
                    peers=request.peers,
                    control_url=request.control_url,
                    redact=request.redact,
                    enroll=request.enroll,
                    intrusive=request.intrusive,
                    trace=request.trace,
                    bootstrap_token_file=request.bootstrap_token_file,
                    credentials_out=request.credentials_out,
                    reports_url=request.command[1:2] in (("all",), ("run",)),
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
            if request.via is not None:
                settings = replace(settings, secrets=replace(settings.secrets, run_key=run_key()))
            plan = make_plan(catalog.checks, selection)
            lean.loaded()
            return cls(request, settings, plan, catalog.broken, lab_kind(os.environ))
        except (SettingsError, SelectionError) as error:
            raise click.UsageError(str(error)) from None

    def run(self, folder: Path, attempts: Attempts, timeline: event.Listener | None = None) -> Report:
        """Run the plan, diagnose, and put the report together, without secrets.

        folder: where to make a folder for captures. attempts: remember failed writes.
        timeline: hears what every part of the run does.
        """
        report, names, files = self.unredacted(timeline)
        redactor = self.redactor(names)
        if files:
            with attempts.one():
                return keep(report, files, folder, redactor)
        return redactor.report(report)

    def redactor(self, names: Iterable[str]) -> Redactor:
        """Removes secrets and, on request, addresses and these names from the report and its files.

        One redactor serves the whole session, so pseudonyms are consistent in the report, its files and a baseline.
        """
        self._redactor.know(names)
        return self._redactor

    @cached_property
    def _redactor(self) -> Redactor:
        pseudonyms = Pseudonyms() if "addresses" in self.settings.report.redact else None
        return Redactor(known_secrets(self.settings, os.environ), pseudonyms)

    def names(self, report: Report, overlay: OverlayState | None = None) -> tuple[str, ...]:
        """Names of hosts in a report: this node's, the peers', those of the control URL, and what the overlay says."""
        members = [peer.name for peer in overlay.peers] if overlay else []
        targets = [peer.target for peer in report.run.peers if peer.target != peer.address]
        own = report.run.node.hostname
        # A short name is not searched inside others: in the ids of our nodes it has a known place.
        return (own, spare_prefix(own), *targets, *members, *self.settings.control.hosts)

    def unredacted(self, timeline: event.Listener | None = None) -> Measured:
        """The measurements; redact them before anyone sees them. Raises click.UsageError if capturing fails."""

        async def once() -> Measured:
            return await self.measured(listener, interruption(), timeline)

        told = progress(quiet=self.request.quiet, no_color=self.request.no_color, checks=len(self.plan.checks))
        with told as listener:
            return run_to_end(once())

    async def measured(
        self, listener: ProgressListener, interrupted: asyncio.Event, timeline: event.Listener | None = None
    ) -> Measured:
        """Like `unredacted`, inside a running event loop; `interrupted` ends the run."""
        before_s = own_age_s() if self.request.alone else 0.0
        started_at, began = datetime.now(UTC) - timedelta(seconds=before_s), perf_counter() - before_s
        outcome, overlay, packets = await self._measure(listener, interrupted, timeline)
        outcome = replace(outcome, interrupted=outcome.interrupted or interrupted.is_set())
        report = self.reported(outcome, overlay, started_at, perf_counter() - began, timeline)
        names = self.names(report, overlay)
        if not packets:
            return Measured(report, names)
        return Measured(report, names, captures(report, packets, filtered_addresses(self.settings.control.usable_url)))

    async def outcome(self, interrupted: asyncio.Event) -> "tuple[Outcome, OverlayState | None]":
        """The results alone, and the overlay: for a report that is made of several runs."""
        outcome, overlay, _ = await self._measure(lambda event: None, interrupted, None)
        return outcome, overlay

    def reported(
        self,
        outcome: Outcome,
        overlay: OverlayState | None,
        started_at: datetime,
        took_s: float,
        timeline: event.Listener | None = None,
    ) -> Report:
        """The report on what a run found, before it is redacted."""
        results = (*outcome.results, *map(broken_result, self.broken))
        peers = overlay_peers(self.settings.peers, overlay)
        known = (self.settings, overlay, peers, results)
        behind = behind_one_end(*known)
        causes = diagnose(results, control_host(*known), sharing=sharing_its_way(*known), behind=behind)
        tell_causes(timeline, causes)
        return build_report(
            results,
            causes,
            placement=place(results, self.settings.thresholds),
            node=node_info(),
            overlay=overlay_info(overlay),
            started_at=started_at,
            duration_ms=took_s * 1000,
            gate=Gate(
                fail_on=cast("Literal['fail', 'warn']", self.request.fail_on),
                allow_inconclusive=self.request.allow_inconclusive,
            ),
            command=self.request.command,
            lab=self.lab,
            asked=self.plan.asked,
            interrupted=outcome.interrupted,
            peers=peers,
            known=self._known,
        )

    @cached_property
    def _known(self) -> Known:
        """What the settings accept today."""
        gives = {check.id: frozenset(code.slug for code in check.codes) for check in self.plan.checks}
        return Known(self.settings.accept, datetime.now(UTC).date(), str(self.settings.source), gives)

    async def _measure(
        self, listener: ProgressListener, interrupted: asyncio.Event, timeline: event.Listener | None
    ) -> "tuple[Outcome, OverlayState | None, tuple[Packet, ...]]":
        net = Net(self.settings, timeline)
        alone = await self._context(net, Lent())
        async with lending(self.request, self.settings, alone.peers, timeline, interrupted) as lent:
            settings = lent.known_to(self.settings)
            net = net.lent(settings)
            context = replace(alone, settings=settings, peers=lent.at(alone.peers), net=net)
            recorder = start_recording(context) if self.request.capture else None
            try:
                outcome = await self._repeat(context, lent, listener, interrupted)
                url = self.settings.control.usable_url
                addresses = control_addresses(self.settings, outcome.results)
                overlay = await net.with_routes(context.overlay, addresses, url.port if url is not None else 0)
            finally:
                await net.aclose()
                if recorder:
                    recorder.stop()
        outcome = replace(outcome, results=(*outcome.results, *lent.results))
        return outcome, overlay, tuple(recorder.packets) if recorder else ()

    async def _context(self, net: Net, lent: Lent) -> Context:
        """What checks see: the overlay as it is now, with the kernel's ways to the peers."""
        overlay = await net.overlay()
        peers = overlay_peers(self.settings.peers, overlay)
        for port in dict.fromkeys(peer.responder_port for peer in peers):
            addresses = [peer.address for peer in peers if peer.responder_port == port]
            overlay = await net.with_routes(overlay, addresses, port, "udp")
        return Context(lent.known_to(self.settings), lent.at(peers), overlay, net)

    async def _repeat(
        self, context: Context, lent: Lent, listener: ProgressListener, interrupted: asyncio.Event
    ) -> Outcome:
        """Run once. With --wait, repeat what is not good, until it is good or the time is up."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        timeline = context.net.listener
        first = Runner(
            self.plan,
            context,
            listener,
            interrupted=interrupted,
            timeout_s=self.request.timeout,
            timeline=timeline,
        )
        outcome = await first.run()
        attempts, pause = 1, 1.0
        while again := plan_again(self.plan, [r for r in outcome.results if not is_accepted(r, self._known)]):
            left = self.request.wait - (loop.time() - began)
            if left <= 0 or await interrupted_within(interrupted, min(pause, left)):
                break
            # Not so often that waiting becomes load: from one second up to ten.
            pause, attempts = min(pause * 2, 10.0), attempts + 1
            fresh = await self._context(context.net, lent)
            limit_s = max(left, 1.0)
            runner = Runner(again, fresh, listener, interrupted=interrupted, timeout_s=limit_s, timeline=timeline)
            outcome = merge(outcome, await runner.run(), attempts)
        return outcome
