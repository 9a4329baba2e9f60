"""A responder put together: everything that answers, traces, keeps promises and says hello, without mailbox and click.

It imports the standard library alone, so the responder in one file and the installed one are the same.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from preflight.model.overlay import IPNetwork
from preflight.model.peer import Peer
from preflight.net.host_state import clock_estimate
from preflight.net.pmtu.host import HostPath
from preflight.proto.load.gate import Limits
from preflight.proto.pmtu.wire import ProbeServer
from preflight.proto.responder import admission, hello
from preflight.proto.responder.admission import SOURCE_PER_S, Admission
from preflight.proto.responder.reverse_trace import MAGIC as TRACE
from preflight.proto.responder.reverse_trace import TraceServer
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stun import binding as stun
from preflight.proto.stun import nat
from preflight.responder.core import ResponderCore
from preflight.responder.hellos import Hellos
from preflight.responder.load import LoadService
from preflight.responder.nat import NatService
from preflight.responder.serve import Companion, keep_clock
from preflight.responder.stun import StunService
from preflight.responder.tracer import Tracer


@dataclass(frozen=True)
class Order:
    """What a responder does. prefixes: who may ask. peers: who gets hellos, if there is a key.

    key: the shared key; `repr` hides it. stateless: copy the senders' sequence numbers and report no counts. load: how
    much load to take from those who have the key; None: none.
    """

    key: bytes | None
    prefixes: tuple[IPNetwork, ...]
    peers: Sequence[Peer] = ()
    max_rate: int = SOURCE_PER_S
    stateless: bool = False
    load: "Limits | None" = None

    def __repr__(self) -> str:
        return f"Order({'keyed' if self.key else 'no key'}, prefixes={self.prefixes}, peers={self.peers})"


def assemble(
    order: Order, log: Callable[[str], None], view: nat.TunnelView | None = None
) -> tuple[ResponderCore, list[Companion]]:
    """The core, and what runs in parallel with the listeners. view: of the endpoints of this host's tunnel."""
    now, key = time.monotonic(), order.key
    reflector = SessionReflector(key=key, stateful=not order.stateless, error=clock_estimate())

    def refused(address: str, reason: str, at: float) -> None:
        core.refused(address, reason, at)

    tracer = Tracer(TraceServer(key, os.urandom(32), now), refused)
    core = ResponderCore(
        admission=Admission(order.prefixes, admission.Limits(order.max_rate), now),
        reflector=reflector,
        probes=ProbeServer(key, os.urandom(32), HostPath()),
        key=key,
        services={TRACE: tracer.serve},
    )
    for magic in stun.magics():
        core.serve(magic, StunService(core, key).handle)
    promises = nat.NatServer(key, view)
    service = NatService(core, promises)
    core.serve(nat.MAGIC, service.handle)
    companions: list[Companion] = [tracer.run, lambda _: keep_clock(reflector), service.run]
    if key is not None and order.peers:
        hellos = Hellos(core, key, order.peers, promises.wants_silence, log)
        core.serve(hello.MAGIC, hellos.handle)
        companions.append(hellos.run)
    if key is not None and order.load is not None:
        companions.append(LoadService(core, key, order.load, log).run)
    return core, companions
