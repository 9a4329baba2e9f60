"""The packets that a firewall is asked about: one flow, sent or awaited between two readings."""

from dataclasses import dataclass
from typing import Literal

from preflight.model.flow import Flow
from preflight.proto.way.netfilter.ruleset import Hook
from preflight.proto.way.observation import PacketClass
from preflight.proto.way.stations import Host, Station

Direction = Literal["forward", "reverse"]
_LEAVING: tuple[tuple[Hook, str], ...] = (("output", "filter-out"), ("postrouting", "post-out"), ("egress", "egress"))
_ARRIVING: tuple[tuple[Hook, str], ...] = (
    ("ingress", "prerouting"),
    ("prerouting", "prerouting"),
    ("input", "input"),
)
_PASSING: tuple[tuple[Hook, str], ...] = (
    *_ARRIVING[:2],
    ("forward", "forward"),
    *_LEAVING[1:],
)
_OUTER = {"filter-out": "filter-outer", "post-out": "post-outer", "input": "input-outer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Packets of one flow as they are at this node. The flow's devices say what they do here: without one to come in by
    they are sent here, without one to leave by they end here, with both this node forwards them.

    direction: of the way that they are on. outer: they are the tunnel's own packets. sent: how many came to this node's
    firewall between the two readings: what a socket sent, or what a tap on the device saw coming in; 0 where nobody
    counted or none came. What was only expected does not count: a counter that did not move is taken for a proof.
    left_as: the source with which a tap behind all rules saw it leave; None if that is not known. refused: the kernel
    refused to send any, as a rule on the way out makes it (EPERM). fresh: what counts is whether a flow may begin so,
    whatever connection tracking holds of this one.
    """

    flow: Flow
    direction: Direction = "forward"
    packets: PacketClass = "inner"
    outer: bool = False
    sent: int = 0
    left_as: str | None = None
    refused: bool = False
    fresh: bool = False

    @property
    def leaves(self) -> bool:
        """Whether this node sends it."""
        return self.flow.interface_in is None

    @property
    def passes(self) -> bool:
        """Whether this node forwards it."""
        return self.flow.interface_in is not None and self.flow.interface_out is not None

    @property
    def hooks(self) -> tuple[tuple[Hook, Station], ...]:
        """The hooks that it passes, in order, each with its station."""
        table = _PASSING if self.passes else _LEAVING if self.leaves else _ARRIVING
        host: Host = "forwarder" if self.passes else "sender" if self.leaves else "receiver"
        return tuple((hook, Station(self._named(station), host)) for hook, station in table)

    def _named(self, station: str) -> str:
        return _OUTER.get(station, f"{station}-outer") if self.outer else station
