"""An inquiry about one silent peer: all that can show the failed direction, at once."""

import asyncio
import secrets
import socket
from collections.abc import Sequence
from dataclasses import replace
from time import monotonic
from typing import Protocol

from preflight.model.event import Tell
from preflight.model.overlay import OverlayState
from preflight.model.path import AskResult, summed
from preflight.model.peer import Peer
from preflight.net.responder.hello import HelloWatch, UnheardError
from preflight.net.responder.mailbox import UnavailableError
from preflight.net.stamp.endpoint_refusals import EndpointRefusals
from preflight.net.stamp.link import prepare, run_session
from preflight.net.stamp.refusals import Refusals
from preflight.proto.responder.inquiry import Sorter
from preflight.proto.responder.mailbox_probe import ASKER_INTERVAL_S, NONCE_BYTES, ProbeResult, implausible
from preflight.proto.responder.reach import Way, forward_by_hello
from preflight.proto.stamp.sender import SessionSender

ASK_COUNT = 10
ASK_INTERVAL_S = 0.01
GRACE_S = 0.4
"""How long probes may still be in flight after the peer's report has arrived."""
ASK_TIMEOUT_S = 4.5
"""The peer's responder looks into its mailbox each second, and then sends packets too."""
HANDSHAKE_TIMEOUT_S = 6.0
"""A tunnel whose first handshake was lost tries its next one within this time (WireGuard: after 5 s)."""
WITHOUT_MAILBOX_S = 1.5
REFUSED_S = 2.5
"""For all of it, where the host of the tunnel's endpoint says that no tunnel is there: only the mailbox is left."""
REFUSED_PORT_S = 2.0
"""For the report of a responder whose port a host at its address calls closed: most often none runs."""
LATE_REPORT_S = 3.0
"""How much longer a report may take once the peer's probes have come: it comes by two requests to a slow server."""


class Asker(Protocol):
    """What an inquiry needs of the run's probes of the path."""

    refusals: Refusals

    @property
    def control_silent(self) -> bool:
        """Whether the control plane has answered nothing in this run so far."""

    def tell(self, source: str, subject: str) -> Tell:
        """Where events are reported."""

    def hellos(self, peer: Peer, local: str) -> HelloWatch:
        """Listen for the peer's hellos from now on. Raises UnheardError."""

    def session(
        self, peer: Peer, ssid: int, count: int, interval_s: float, *, sorter: Sorter, enough: int | None = None
    ) -> SessionSender:
        """A session with a silent peer."""

    async def by_mailbox(
        self, peer: Peer, local: tuple[str, int], ssid: int, nonce: bytes, public_key: str | None = None
    ) -> ProbeResult:
        """The result of a request by mailbox. Raises UnavailableError."""


class Inquiry:
    """One silent peer, everything at once: a burst, the mailbox, hellos, and packets until one is answered."""

    def __init__(self, asker: Asker, peer: Peer, unconnected: socket.socket, tunnel: OverlayState | None) -> None:
        self._asker = asker
        self._public_key = tunnel.public_key if tunnel is not None else None
        # Where the session can be seen, somebody has waited for its handshake.
        seen = tunnel is not None and tunnel.unreadable is None
        self._timeout_s = ASK_TIMEOUT_S if seen else HANDSHAKE_TIMEOUT_S
        self._peer, self._began = peer, monotonic()
        self._refusals = EndpointRefusals(tunnel, peer.address)
        address, port = unconnected.getsockname()[:2]
        self._local = (address, port)
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._tell = asker.tell("stamp.inquiry", peer.target)
        self._sorter = Sorter((peer.address, peer.responder_port), self._nonce, ASK_COUNT, self._tell)
        self._link = unconnected
        prepare(unconnected)

    async def run(self) -> AskResult:
        """The whole inquiry; ends early when an answer comes."""
        with self._refusals:
            return await self._with_hellos()

    async def _with_hellos(self) -> AskResult:
        try:
            hellos = self._asker.hellos(self._peer, self._local[0])
        except UnheardError as reason:
            return replace(await self._run(None), unheard=str(reason))
        try:
            result = await self._run(hellos)
            report = hellos.report()
            return replace(result, hello=report, unheard="" if report else hellos.unheard())
        finally:
            hellos.close()

    async def _run(self, hellos: HelloWatch | None) -> AskResult:
        ssid, retry_ssid, sorter = fresh_ssid(), fresh_ssid(), self._sorter
        retries = round(self._timeout_s / ASKER_INTERVAL_S)
        burst = self._asker.session(self._peer, ssid, ASK_COUNT, ASK_INTERVAL_S, sorter=sorter)
        retry = self._asker.session(self._peer, retry_ssid, retries, ASKER_INTERVAL_S, sorter=sorter, enough=1)
        sorter.sessions = [burst, retry]
        await run_session(burst, self._link, self._tell)
        reply: ProbeResult | UnavailableError | None = None
        # A firewall calls a port closed too, and another machine does: a responder that runs reports.
        if not burst.stats().answered and (self._peer.agent_id is not None or not burst.port_unreachable):
            reply = await self._hear(ssid, retry, hellos)
        first, later = burst.stats(), retry.stats()
        self._asker.refusals.note(self._peer, first, later)
        result = AskResult(
            sent=first.sent,
            answered=first.answered + later.answered,
            probes_received=sorter.probes,
            send_errors=first.send_errors,
            port_unreachable=first.port_unreachable or later.port_unreachable,
            icmp_from={**first.icmp_from, **later.icmp_from},
            local=self._local,
            public_key=self._public_key,
            rejected=summed((first.rejected, later.rejected)),
            strays=sorter.strays,
        )
        if sorter.others:
            return replace(result, unavailable="impostor", detail=self._impostor(sorter.others))
        return _with_reply(result, reply)

    def _impostor(self, others: Sequence[str]) -> str:
        who = ", ".join(others)
        return f"{who} reads mailbox {self._peer.agent_id}, not {self._peer.address}: what it reports is about itself"

    async def _hear(self, ssid: int, retry: SessionSender, hellos: HelloWatch | None) -> ProbeResult | UnavailableError:
        """The peer's report by mailbox; packets go on until one is answered, a hello decides, or time is up."""
        mailbox = asyncio.create_task(self._by_mailbox(ssid))
        decided = asyncio.create_task(self._until_decided(mailbox, hellos))
        again = asyncio.create_task(run_session(retry, self._link, self._tell))
        refused = asyncio.create_task(self._until_refused())
        ends = {decided, again, refused}
        try:
            done, _ = await asyncio.wait(ends, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                ended.result()
            if retry.port_unreachable:
                await asyncio.wait({decided}, timeout=REFUSED_PORT_S)
            if not mailbox.done() and self._sorter.probes:
                await asyncio.wait({mailbox}, timeout=LATE_REPORT_S)
            return mailbox.result() if mailbox.done() else self._unheard()
        finally:
            for task in (mailbox, *ends):
                task.cancel()
            await asyncio.gather(mailbox, *ends, return_exceptions=True)

    def _unheard(self) -> UnavailableError:
        if self._asker.control_silent:
            return UnavailableError("control", "the control plane has answered nothing in this run")
        within_s = monotonic() - self._began
        return UnavailableError("silent", f"its responder did not answer by mailbox within {within_s:.1f} s")

    async def _until_refused(self) -> None:
        """Return once it is certain that nothing can come by the tunnel, and the mailbox had its time."""
        await self._refusals.wait(self._began + REFUSED_S)
        self._tell(monotonic(), "endpoint-refuses")

    async def _until_decided(
        self, mailbox: "asyncio.Task[ProbeResult | UnavailableError]", hellos: HelloWatch | None
    ) -> None:
        """Return once there is nothing more to learn. The mailbox shows most; if it is silent, wait for hellos.

        Behind a control plane that has answered nothing in this run, nobody waits for the mailbox once a hello decides.
        """
        heard = asyncio.create_task(hellos.wait() if hellos else asyncio.sleep(WITHOUT_MAILBOX_S))
        try:
            await asyncio.wait({mailbox, heard}, return_when=asyncio.FIRST_COMPLETED)
            if not mailbox.done() and self._asker.control_silent and _decides(hellos):
                return
            reply = await asyncio.shield(mailbox)
            if not isinstance(reply, ProbeResult):
                await heard
            elif self._sorter.probes < reply.report.sent:
                await asyncio.sleep(GRACE_S)
        finally:
            heard.cancel()

    async def _by_mailbox(self, ssid: int) -> ProbeResult | UnavailableError:
        try:
            result = await self._asker.by_mailbox(self._peer, self._local, ssid, self._nonce, self._public_key)
        except UnavailableError as reason:
            self._tell(monotonic(), "mailbox-unavailable", because=reason.why)
            return reason
        report = result.report
        self._tell(monotonic(), "mailbox-result", received=report.received, sent=report.sent, refusal=result.refusal)
        return result


def _decides(hellos: HelloWatch | None) -> bool:
    """Whether a hello has shown whether this node's packets arrive."""
    return hellos is not None and forward_by_hello(hellos.report()) is not Way.UNKNOWN


def _with_reply(result: AskResult, reply: ProbeResult | UnavailableError | None) -> AskResult:
    if isinstance(reply, UnavailableError):
        return replace(result, unavailable=reply.why, detail=reply.detail)
    if reply is None:
        return result
    if reply.refusal:
        return replace(result, unavailable="refused", detail=reply.refusal)
    if why := implausible(reply.report, result.sent):
        return replace(result, unavailable="implausible", detail=why)
    return replace(result, report=reply.report)


def fresh_ssid() -> int:
    """The number of a new session."""
    return secrets.randbelow(0xFFFF) + 1  # never zero (RFC 8972 section 3)
