"""What a check learnt about whether packets reach a peer: as plain data, and what follows from it directly."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from preflight.model.icmp import EchoStats
from preflight.model.measurement import Measurement
from preflight.model.overlay import OverlayState
from preflight.model.path import AskResult, StampStats, summed
from preflight.model.peer import Peer
from preflight.model.printable import number_of
from preflight.model.remedy import Remedies
from preflight.proto.responder.admission import Verdict
from preflight.proto.responder.observed import encode
from preflight.proto.responder.reach import Way, forward_way
from preflight.proto.tunnel.policy_advice import let_udp_in


@dataclass(frozen=True, slots=True)
class Reached:
    """A short STAMP session; if nobody answered it, also: one without the key, the inquiry, an echo, and TCP.

    connected: the peer's host answered TCP, even if only with a reset.
    outside: a router outside the overlay that answered packets for the peer, and the interface by which it did.
    tunnel: the peer's.
    """

    session: StampStats
    unsigned: StampStats | None = None
    asked: AskResult | None = None
    echo: EchoStats | None = None
    outside: tuple[str, str] | None = None
    tunnel: OverlayState | None = None
    connected: bool = False

    @property
    def port_unreachable(self) -> bool:
        """Whether the peer's host itself says that nobody listens: both directions carry packets then."""
        return self.session.port_unreachable or (self.asked is not None and self.asked.port_unreachable)

    @property
    def rejected(self) -> dict[str, int]:
        """What came from the responder's address and port but is not an answer, by reason."""
        parts = (self.session, self.unsigned, self.asked)
        return summed(part.rejected for part in parts if part is not None)

    @property
    def echoed(self) -> bool:
        """Whether the peer answered an echo."""
        return self.echo is not None and self.echo.received > 0

    @property
    def passes(self) -> str:
        """What does get to the peer and back, in words; empty if nothing is known to."""
        return "ICMP echo" if self.echoed else "TCP" if self.connected else ""

    @property
    def also(self) -> str:
        """The same as the end of a sentence, and who refuses what does not."""
        who = "a host at its address calls the port closed, as a firewall that rejects or another machine does"
        return f"{f'; {self.passes} passes' if self.passes else ''}{f'; {who}' if self.port_unreachable else ''}"

    def overload(self, name: str) -> str:
        """What the responder of `name` dropped itself, if that may explain everything that is missing; else empty."""
        asked = self.asked
        limited = asked.report.refused.get(Verdict.LIMITED.value, 0) if asked is not None and asked.report else 0
        if limited:
            return f"the responder of {name} dropped {number_of('packets', limited)} of this node for their rate"
        if asked is not None and asked.overflowed_there and forward_way(asked) is not Way.OPEN:
            lost = number_of("datagrams", asked.overflowed_there)
            return f"the responder of {name} had no room for {lost} in its receive queue"
        return ""

    def silence(self, port: int) -> str:
        """How packets get to the peer and back, and what stays without an answer."""
        if self.echoed:
            why = "no responder answers there, or a filter drops its packets"
            return f"only as echoes; UDP port {port} is silent ({why})"
        return f"only as TCP; echoes and UDP port {port} are silent (a filter drops echoes there, and perhaps UDP)"

    def levers(self, peer: Peer) -> Remedies:
        """The product's own rules, where something passes through its session and UDP does not."""
        if self.tunnel is None or not self.passes or self.port_unreachable:
            return ()
        return let_udp_in(self.tunnel.product, peer.target, peer.responder_port)


def outside_router(state: OverlayState | None, routers: Mapping[str, str]) -> tuple[str, str] | None:
    """Who answered for the peer by ICMP: an address outside the overlay, by an interface that is not the overlay's.

    routers: by address the interface by which their ICMP errors came in.
    """
    if state is None or state.interface is None:
        return None
    inside = ("", "lo", *(tunnel.interface for tunnel in state.own_tunnels))
    candidates = ((who, by) for who, by in routers.items() if by not in inside)
    return next(((who, by) for who, by in candidates if not state.covers(who)), None)


def counts(asked: AskResult) -> dict[str, Any]:
    """What left and what arrived at both ends, as evidence."""
    return {
        "sent": asked.sent,
        "probes_received": asked.probes_received,
        "received_on_interface": asked.on_interface,
        "rejected": dict(asked.rejected),
        "answers_from_elsewhere": dict(asked.strays),
        "told_by_peer": {**asdict(asked.report), "observed": encode(asked.report.observed)} if asked.report else None,
        "not_told_because": asked.detail or None,
        "told_by_hello": asdict(asked.hello) if asked.hello else None,
        "not_heard_because": asked.unheard or None,
    }


def forward_counts(asked: AskResult) -> dict[str, Measurement]:
    """What was sent, and what the peer says that it received."""
    reported: dict[str, Measurement] = {"received_by_peer": asked.report.received} if asked.report else {}
    return {"sent": asked.sent, **reported}


def reverse_counts(asked: AskResult) -> dict[str, Measurement]:
    """What the peer says that it sent, and what arrived here."""
    reported: dict[str, Measurement] = {"sent_by_peer": asked.report.sent} if asked.report else {}
    return {**reported, "received": asked.probes_received, "received_on_interface": asked.on_interface}
