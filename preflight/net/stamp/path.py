"""STAMP sessions with a peer's responder, and all questions to a silent peer that can show the failed direction."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING

from preflight.model.control import ControlError
from preflight.model.event import Listener, Tell, telling
from preflight.model.overlay import OverlayState
from preflight.model.path import AskResult, StampStats
from preflight.model.peer import Peer
from preflight.model.return_path import ReverseTraceroute
from preflight.net import udp
from preflight.net.host_state import clock_estimate
from preflight.net.responder.hello import HelloWatch
from preflight.net.responder.mailbox import ResultBox, UnavailableError, unavailable
from preflight.net.responder.reverse_trace import ask_for_trace
from preflight.net.stamp.inquiry import ASK_COUNT, ASK_INTERVAL_S, GRACE_S, Inquiry, fresh_ssid
from preflight.net.stamp.link import prepare, run_session, session_stats
from preflight.net.stamp.refusals import Refusals
from preflight.net.stamp.whole import Whole
from preflight.net.watch import PacketWatch
from preflight.proto.responder.hello import Ends
from preflight.proto.responder.inquiry import Sorter
from preflight.proto.responder.mailbox_probe import REQUEST_TYPE, ProbeRequest, ProbeResult, encode_request
from preflight.proto.stamp.sender import SessionPlan, SessionSender

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient
    from preflight.settings.load import Settings

AGAIN_COUNT = 3
DELIVER_TIMEOUT_S = 4.0
DEAD_CONTROL_TIMEOUT_S = 2.5
"""For a control plane that has answered nothing in this run: enough for TCP and TLS at a round trip of 600 ms."""
CONCURRENT_QUESTIONS = 32
QUICK_MS = 200.0


class PathProbes:
    """What a run can measure of the path to a peer's responder."""

    def __init__(self, settings: "Settings", control: "ControlClient", *, listener: Listener | None = None) -> None:
        self._listener = listener
        self._secrets = settings.secrets
        self._agent_id = settings.responder.agent_id
        self._control = control
        self._results = ResultBox(control, self._agent_id, settings.secrets.responder_key) if self._agent_id else None
        self._port = settings.responder.port
        self._signed: dict[str, bool] = {}  # by address: whether the peer has answered what this node signs
        self._silent: dict[str, StampStats] = {}
        self._first: dict[str, StampStats] = {}
        self._asked: dict[str, AskResult] = {}
        self.begun_ns: dict[str, int] = {}  # by address: when the first session began
        self.refusals, self.whole = Refusals(), Whole()
        self._clock = clock_estimate()
        self._questions = asyncio.Semaphore(CONCURRENT_QUESTIONS)

    async def stamp(
        self,
        peer: Peer,
        *,
        count: int,
        interval_s: float,
        payload_bytes: int = 0,
        timeout_s: float = 1.0,
        authenticated: bool = True,
    ) -> StampStats:
        """One session of `count` packets `interval_s` apart, and a tail where an answer is missing (RFC 8762).

        payload_bytes: smallest UDP payload. timeout_s: how long to wait for a first answer. The session is
        authenticated if this node has a key, except with `authenticated=False` and towards peers that have answered
        only without authentication. What the network does is data, even a missing route.
        """
        key = self._key_for(peer) if authenticated else None
        try:
            connected = udp.open_towards(peer.address, peer.responder_port)
        except OSError as error:
            return StampStats(sent=0, answered=0, send_errors={udp.error_name(error.errno or 0): count})
        self.begun_ns.setdefault(peer.address, time.time_ns())
        ssid = fresh_ssid()
        tell = self.tell("stamp.sender", f"{peer.target} {ssid}")
        plan = SessionPlan(ssid, count, interval_s, timeout_s, payload_bytes, key, self._clock, peer=peer.address)
        with connected:
            prepare(connected)
            sender = SessionSender(plan, monotonic(), time.time_ns, tell=tell)
            await run_session(sender, connected, tell)
            stats = session_stats(sender, connected)
        self._learn(peer, stats.answered, signed=key is not None)
        self.refusals.note(peer, stats)
        self.whole.note(peer, stats)
        if authenticated and not stats.answered:
            self._silent[peer.address] = stats
        elif stats.answered:
            self._first.setdefault(peer.address, stats)
        return stats

    def first(self, peer: Peer) -> StampStats | None:
        """The first session of this run that the responder answered."""
        return self._first.get(peer.address)

    def rtt_s(self, peer: Peer) -> float | None:
        """The shortest round trip of that session; None if it is not known."""
        return min(first.rtt_ms) / 1000 if (first := self.first(peer)) is not None and first.rtt_ms else None

    @property
    def quick(self) -> bool:
        """Whether a peer has answered everything in its first session at once: no queue of this node's line is full."""
        return any(not each.lost and each.rtt_ms and max(each.rtt_ms) < QUICK_MS for each in self._first.values())

    def silent(self, peer: Peer) -> bool:
        """Whether the responder answered nothing in the last session: many of those may be waited for at one time."""
        return peer.address in self._silent

    def proven_silent(self, peer: Peer) -> StampStats | None:
        """The last session with a responder that answered neither it nor what it was asked for seconds; else None.

        Where the peer's host said that nobody listens, no seconds are needed. It is not waited for again in this run.
        """
        session, asked = self._silent.get(peer.address), self._asked.get(peer.address)
        if session is not None and session.port_unreachable:
            return session
        return None if asked is None or asked.answered or asked.sent == 0 else session

    def _learn(self, peer: Peer, answered: int, *, signed: bool) -> None:
        """A signed answer counts for the whole run: later silence to signed packets has another reason than the key."""
        if answered:
            self._signed[peer.address] = signed or self._signed.get(peer.address, False)
            self._silent.pop(peer.address, None)

    def _key_for(self, peer: Peer) -> bytes | None:
        return self._secrets.key_for(peer.address) if self._signed.get(peer.address, True) else None

    async def ask(self, peer: Peer, tunnel: OverlayState | None = None) -> AskResult:
        """Find out why a peer is silent: what it reports by mailbox and by hellos, what arrives here and is dropped.

        tunnel: with the peer; its interface is watched if this process may do so, and a peer that observes says what it
        has for its public key. Sends a burst of packets, then some more in case the tunnel was not up yet. Takes about
        5 s at most, and 7 s where nobody can see whether the tunnel has a session. What the network and the control
        plane do is data.
        """
        interface = tunnel.interface if tunnel is not None else None
        try:
            local = udp.source_address(peer.address, peer.responder_port)
            unconnected = udp.open_udp(local)
        except OSError as error:
            return AskResult(sent=0, answered=0, send_errors={udp.error_name(error.errno or 0): ASK_COUNT})
        with unconnected, _watching(interface, peer.address, unconnected.getsockname()[1]) as (watch, unwatched):
            udp.watch_errors(unconnected)
            async with self._questions if peer.agent_id is not None else nullcontext():
                result = await Inquiry(self, peer, unconnected, tunnel).run()
            # The watch comes before the socket: what it has seen by now has come to the socket by now, or never will.
            seen = watch.seen() if watch else None
            late = bool(seen) and any(each.source[0] == peer.address for each in udp.waiting(unconnected))
        if late and not result.reached_socket:
            # It came as the inquiry ended, as where the tunnel got its session then: nothing here has dropped it.
            again, seen = await self.stamp(peer, count=AGAIN_COUNT, interval_s=ASK_INTERVAL_S), None
            result = replace(result, answered=again.answered)
        if result.answered and result.probes_received:
            # To a stateful filter what this node sent then was an answer to the peer's probes: a new flow shows more.
            again = await self.stamp(peer, count=AGAIN_COUNT, interval_s=ASK_INTERVAL_S)
            result = result if again.answered else replace(result, answered=0)
        result = _about_the_tunnel(result, tunnel)
        self._learn(peer, result.answered, signed=self._secrets.key_for(peer.address) is not None)
        self._asked[peer.address] = found = replace(result, on_interface=seen, unwatched=unwatched)
        return found

    def asked(self, peer: Peer) -> AskResult | None:
        """What the last inquiry of this run about a peer has shown; None if there was none."""
        return self._asked.get(peer.address)

    async def trace_back(self, peer: Peer) -> ReverseTraceroute | None:
        """The way back as the peer's responder traces it; None if it does not. Takes about 4 s at most."""
        return await ask_for_trace(peer, self._key_for(peer), self._listener)

    async def by_mailbox(
        self, peer: Peer, local: tuple[str, int], ssid: int, nonce: bytes, public_key: str | None = None
    ) -> ProbeResult:
        """Deliver a request to the peer's responder and wait for its result. Raises UnavailableError."""
        if peer.agent_id is None:
            raise UnavailableError("no-agent-id", f"peer {peer.target} has no agent_id in the settings")
        if self._results is None or self._agent_id is None:
            raise UnavailableError("no-own-agent-id", "this node has no responder.agent_id in the settings")
        request = ProbeRequest(
            nonce=nonce,
            created_unix_ms=time.time_ns() // 1_000_000,
            sender=self._agent_id,
            receiver=peer.agent_id,
            address=local[0],
            port=local[1],
            ssid=ssid,
            count=ASK_COUNT,
            interval_ms=round(ASK_INTERVAL_S * 1000),
            to=peer.address,
            public_key=public_key,
        )
        async with self._results.expecting(nonce) as result:
            await self._deliver(request)
            return await result

    async def _deliver(self, request: ProbeRequest) -> None:
        timeout_s = DELIVER_TIMEOUT_S if self._control.heard else DEAD_CONTROL_TIMEOUT_S
        try:
            async with asyncio.timeout(timeout_s):
                await self._control.deliver(
                    sender=request.sender,
                    receiver=request.receiver,
                    message_type=REQUEST_TYPE,
                    payload=encode_request(request, self._secrets.responder_key),
                    idempotency_key=request.nonce.hex(),
                )
        except TimeoutError:
            words = f"the control plane did not take the request to ask within {timeout_s:g} s"
            raise UnavailableError("control", words) from None
        except ControlError as error:
            raise unavailable(error, "deliver to mailboxes", "submitter's") from None

    @property
    def control_silent(self) -> bool:
        """Whether the control plane has answered nothing in this run so far."""
        return not self._control.heard

    def hellos(self, peer: Peer, local: str) -> HelloWatch:
        """Listen for the peer's hellos from now on. Raises UnheardError."""
        ends = Ends(peer.address, peer.responder_port, local, self._port)
        return HelloWatch(ends, self._secrets.key_for(peer.address), monotonic(), self._listener)

    def session(
        self, peer: Peer, ssid: int, count: int, interval_s: float, *, sorter: Sorter, enough: int | None = None
    ) -> SessionSender:
        """A session with a silent peer: short patience, signed with this node's key."""
        to = (peer.address, peer.responder_port)
        key, clock = self._secrets.key_for(peer.address), self._clock
        plan = SessionPlan(ssid, count, interval_s, GRACE_S, 0, key, clock, enough, peer=peer.address, to=to)
        tell = self.tell("stamp.sender", f"{peer.target} {ssid}")
        return SessionSender(plan, monotonic(), time.time_ns, sift=sorter.sift, tell=tell)

    def tell(self, source: str, subject: str) -> Tell:
        """Where a core or a shell reports its events."""
        return telling(self._listener, source, subject)


def _about_the_tunnel(result: AskResult, tunnel: OverlayState | None) -> AskResult:
    """Without what the peer says of its way back, where this node asked with an address that its tunnel lacks."""
    own = {str(each.ip) for each in tunnel.addresses} if tunnel is not None else set()
    if result.report is None or result.local is None or not own or result.local[0] in own:
        return result
    return replace(result, report=replace(result.report, way=None, observed=()))


@contextmanager
def _watching(interface: str | None, source: str, port: int) -> Iterator[tuple[PacketWatch | None, str]]:
    """A watch on the interface, or why it is missing."""
    if interface is None:
        yield None, "no overlay interface is known"
        return
    try:
        watch = PacketWatch(interface, source, port)
    except PermissionError:
        yield None, "that needs CAP_NET_RAW"
        return
    except (OSError, AttributeError) as error:
        yield None, f"{interface}: {error}"
        return
    try:
        yield watch, ""
    finally:
        watch.close()
