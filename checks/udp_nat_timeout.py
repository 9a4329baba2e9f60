"""Does the peer still reach this node after a silence, or does something on the path drop its mapping?"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace

from preflight.api import (
    Context,
    Direction,
    Measurement,
    Peer,
    Remedies,
    Result,
    by_hand,
    check,
    codes,
    for_each_peer,
    inconclusive,
    passed,
    warned,
)
from preflight.model.nat import AfterSilence
from preflight.model.overlay import OverlayPeer
from preflight.proto.responder.answerer import who_answers
from preflight.proto.responder.reach import start_responder
from preflight.proto.tunnel.advice import keep_alive

TAIL_S = 11.0
"""The receiver of the last data answers with an empty packet after 10 s (WireGuard's KEEPALIVE-TIMEOUT): silence
starts only then."""
LOOK_S = 0.5
CONCURRENT_PEERS = 256
SHORT = 0.8
"""A silence shorter than this share of the plan was disturbed."""


@dataclass(frozen=True, slots=True)
class Idle:
    """The silences with one peer, shortest first, up to the first after which nothing came in.

    interface, session: of the tunnel, None if its state cannot be read. rejected: what came instead of a promise.
    """

    silences: tuple[AfterSilence, ...] = ()
    interface: str | None = None
    session: OverlayPeer | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)


Changes = dict[Peer, list[float]]
"""When the counters of the tunnel to each peer changed, by the event loop's clock."""


@check(
    "udp.nat-timeout",
    title="The peer reaches this node after a silence",
    subject="peer",
    needs=("reach.udp",),
    measures=True,
    timeout=300,
    timeout_per_peer=1.5,
    tags=("slow",),
    codes=(codes.UDP_NAT_TIMEOUT,),
)
async def udp_nat_timeout(ctx: Context) -> AsyncGenerator[Result, None]:
    """Asks each peer's responder to send packets after 25, 60 and 120 s in which neither side sends.

    All peers are silent at the same time. The counters prove that their tunnels were silent.
    """
    changes: Changes = {peer: [] for peer in ctx.peers}
    watch = asyncio.create_task(_watch(ctx, changes))
    try:
        async for peer, idle in for_each_peer(
            ctx.peers, lambda peer: measure(ctx, peer, changes), at_once=CONCURRENT_PEERS
        ):
            yield judge(peer, idle)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def measure(ctx: Context, peer: Peer, changes: Changes) -> Idle:
    """Four minutes if no mapping expires."""
    silences: list[AfterSilence] = []
    rejected: Mapping[str, int] = {}
    for step_s in sorted(ctx.settings.checks.nat_silence_s):
        ends = asyncio.get_running_loop().time() + TAIL_S + step_s
        silence = await ctx.net.nat.after_silence(peer, step_s, TAIL_S)
        if not silence.agreed:
            rejected = silence.rejected
            break
        last = max((at for at in changes[peer] if at < ends - LOOK_S), default=None)
        silences.append(replace(silence, silent_s=ends - last) if last is not None else silence)
        if not silence.arrived:
            break
    overlay = await ctx.net.overlay()
    state = overlay and overlay.tunnel_for(peer.address)
    session = state.peer_for(peer.address) if state else None
    return Idle(tuple(silences), state.interface if state else None, session, rejected)


async def _watch(ctx: Context, changes: Changes) -> None:
    """Record when the counters of the tunnel to each peer change; nothing if they cannot be read."""
    before: dict[Peer, tuple[int | None, int | None]] = {}
    while (state := await ctx.net.overlay()) is not None:
        at = asyncio.get_running_loop().time()
        for peer, times in changes.items():
            session = state.tunnel_for(peer.address).peer_for(peer.address)
            if session is None or session.rx_bytes is None:
                continue
            now = (session.rx_bytes, session.tx_bytes)
            if before.get(peer) != now:
                times.append(at)
            before[peer] = now
        await asyncio.sleep(LOOK_S)


def judge(peer: Peer, idle: Idle) -> Result:
    """A mapping has expired only if the peer did send, and packets came in again once this node had sent."""
    measurements = _measured(idle)
    if not idle.silences:
        fact = f"the responder of {peer.target} does not offer to send after a silence"
        return _undecided(peer, who_answers(peer.target, peer.responder_port, idle.rejected) if idle.rejected else fact)
    last = idle.silences[-1]
    if last.arrived:
        return passed(peer.target, Direction.REVERSE, _open(peer, idle), measurements=measurements)
    if not last.sent:
        what = "sent nothing" if last.sent == 0 else "stopped answering"
        return _undecided(peer, f"{peer.target} {what} after a silence of {last.step_s:g} s")
    return warned(
        codes.UDP_NAT_TIMEOUT,
        peer.target,
        Direction.REVERSE,
        f"after {_silence(last)} none of {last.sent} packets of {peer.target} came in, but the next packet from here "
        f"was answered: a NAT or firewall on the path had dropped its mapping{_before(idle)}{_keepalive(idle)}",
        remedies=_remedies(idle),
        measurements=measurements,
    )


def _undecided(peer: Peer, fact: str) -> Result:
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        peer.target,
        Direction.REVERSE,
        f"{fact}, so it is not known whether it gets in",
        remedies=start_responder(peer.target, peer.address, peer.responder_port),
    )


def _silence(silence: AfterSilence) -> str:
    seconds = silence.step_s if silence.silent_s is None else silence.silent_s
    return f"{seconds:.0f} s of silence"


def _open(peer: Peer, idle: Idle) -> str:
    longest = max(idle.silences, key=lambda silence: silence.silent_s or silence.step_s)
    fact = f"after {_silence(longest)} packets of {peer.target} still come in"
    if longest.silent_s is not None and longest.silent_s < SHORT * idle.silences[-1].step_s:
        keepalive = idle.session.keepalive_s if idle.session else None
        why = f"keepalive every {keepalive} s" if keepalive else "other traffic"
        return f"{fact}; the tunnel was never silent for longer ({why})"
    return fact


def _before(idle: Idle) -> str:
    return f"; after {_silence(idle.silences[-2])} it had not" if len(idle.silences) > 1 else ""


def _keepalive(idle: Idle) -> str:
    if idle.session is None or idle.session.keepalive_s is None:
        return ""
    seconds = idle.session.keepalive_s
    return f"; the keepalive of {seconds} s is too rare" if seconds else "; there is no keepalive"


def _remedies(idle: Idle) -> Remedies:
    """A keepalive shorter than the mapping's life: 25 s is usual, but too long if the mapping expires after 25 s."""
    seconds = 25 if len(idle.silences) > 1 and idle.silences[-2].step_s >= 25 else 15
    session, interface = idle.session, idle.interface
    if session is None or interface is None or not session.key:
        return by_hand(f"Set a keepalive of {seconds} s on this node's tunnel to the peer.", root=True)
    return keep_alive(interface, session.key, seconds)


def _measured(idle: Idle) -> dict[str, Measurement]:
    survived = [silence.silent_s or silence.step_s for silence in idle.silences if silence.arrived]
    forgotten = [silence.silent_s or silence.step_s for silence in idle.silences if not silence.arrived]
    return {
        "survived_s": round(max(survived), 1) if survived else None,
        "forgotten_within_s": round(forgotten[0], 1) if forgotten else None,
        "keepalive_s": idle.session.keepalive_s if idle.session else None,
    }
