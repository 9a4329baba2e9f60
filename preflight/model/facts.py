"""Facts: what a check measured and other parts of the program read, as typed values.

Rules for diagnosis, placement, pages, comparisons and other checks read fields, never names of measurements, so that
a renamed field is an error of the type checker. The measurements of a report are made from these fields, in their
order. What nobody reads by name stays a free mapping (`Result.measurements`).

* The unit is in the field's name: `_ms`, `_s`, `_bytes`, `_percent`.
* A field without a default is always in the report; None there means: not measured.
* A field with a default is left out of the report while it is None: it does not apply. A field that a later version
  adds needs a default, or reports of earlier versions no longer yield these facts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TypeVar

from preflight.model.measurement import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one result of a check says to other parts; each field is a `Measurement`."""

    def measurements(self) -> dict[str, Measurement]:
        """The fields by name, in their order, without the optional ones that do not apply."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return {field.name: value for field, value in values if value is not None or field.default is MISSING}


F = TypeVar("F", bound=Facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts(Facts):
    """members: the targets on an overlay that a finding about this node concerns, where others are on another one."""

    members: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceFacts(MemberFacts):
    """The overlay's own interface."""

    mtu_bytes: int | None
    peers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelMtuFacts(Facts):
    """The tunnel's MTU, and what fits into the interface under it; the rest is None where that is not known."""

    tunnel_mtu_bytes: int
    underlay_mtu_bytes: int | None = None
    overhead_bytes: int | None = None
    fits_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDriftFacts(Facts):
    """How many values of a tunnel differ from its file. by_mtu: those that the MTU of the tunnel accounts for."""

    differences: int
    by_mtu: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversePathFilterFacts(Facts):
    """The strict reverse-path filter. silent_peers: who did not answer while it dropped packets; None if nobody."""

    strict_interfaces: tuple[str, ...]
    dropped_packets: int
    silent_peers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeFacts(Facts):
    """A watched tunnel session; handshake_age_s is None if there never was a handshake."""

    handshake_age_s: float | None
    sent_bytes: int
    received_bytes: int
    watched_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoFacts(Facts):
    """ICMP echoes to a peer.

    udp_answered: how many UDP packets came back where no echo did. tcp_answered: where neither did, its host answered
    TCP.
    """

    sent: int
    received: int
    rtt_min_ms: float | None = None
    rtt_max_ms: float | None = None
    udp_answered: int | None = None
    tcp_answered: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFacts(Facts):
    """UDP packets to a peer's responder, and how many of them it answered.

    rejected: datagrams that came back and answer nothing. undirected: packets lost in a direction that is not known.
    """

    sent: int
    answered: int
    rtt_min_ms: float | None = None
    rejected: int | None = None
    undirected: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFacts(Facts):
    """The way to a peer; hops is None where the peer was not reached."""

    hops: int | None
    reached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseTraceFacts(Facts):
    """The way back from a peer, as its responder traces it; `interface` and `arrival_interface` are the peer's."""

    hops: int | None
    hops_forward: int | None
    reached: bool
    interface: str | None
    arrival_interface: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MtuFacts(Facts):
    """The largest IP packet that a path carries whole (None: none did), and the MTU of the sender's interface."""

    mtu_bytes: int | None
    interface_mtu_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MtuSearchFacts(MtuFacts):
    """A search of one direction, by a responder that answers path-MTU probes; `signalled`: by an ICMP error.

    recovered: how many sizes were lost at first, and arrived when they were sent again.
    """

    signalled: bool
    probes: int
    rounds: int
    rtt_ms: float | None
    search_ms: float
    recovered: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MtuEchoFacts(MtuFacts):
    """A search by echoes, there and back; forward_mtu_bytes: what provably gets there, None if nothing shows it."""

    forward_mtu_bytes: int | None
    signalled: bool
    echoes: int
    rounds: int
    rtt_ms: float | None
    search_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpFacts(Facts):
    """One TCP connection as the kernel counts it (TCP_INFO)."""

    packet_bytes: int
    mss_bytes: int
    advertised_mss_bytes: int
    received_mss_bytes: int
    path_mtu_bytes: int
    rtt_ms: float
    lost: int
    retransmitted: int
    unacknowledged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LossFacts(Facts):
    """One direction of a STAMP session, each share with the count behind it.

    sent: the number behind the loss. observed: the number behind reordering, duplication and jitter.
    smallest_loss_percent: what this number of packets could have shown. arriving_per_s: how many packets arrived in a
    second where more were sent, many were lost and none waited: a reason to measure what rate passes.
    """

    sent: int
    received: int
    observed: int
    loss_percent: float
    jitter_p95_ms: float | None
    ipdv_mean_ms: float | None
    ipdv_pairs: int
    reordered: int
    reordered_percent: float
    reordering_extent: int
    duplicated: int
    duplicated_percent: float
    rtt_median_ms: float | None
    rtt_packets: int
    dropped_by_ends: int
    rejected: int
    smallest_loss_percent: float | None = None
    arriving_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedDelayFacts(Facts):
    """What one transfer in a direction adds to the delay of small packets in it, and what the round trip becomes.

    lost, packets: of the small packets during the transfer. tcp_mbit_s: of the transfer, None if it was too short.
    """

    added_ms: float
    added_p95_ms: float
    grade: str
    idle_rtt_ms: float
    loaded_rtt_ms: float
    packets: int
    lost: int
    tcp_mbit_s: float | None
    transfer_bytes: int
    transfer_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputFacts(Facts):
    """Payload a second that a receiver counted. udp_at_least: nearly all arrived; None: the flow gave no number."""

    tcp_mbit_s: float | None
    tcp_bytes: int
    udp_mbit_s: float | None = None
    udp_at_least: bool | None = None
    udp_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFacts(Facts):
    """The addresses that the control host's name leads to."""

    addresses: tuple[str, ...]
    lookup_ms: float | None
    resolvers_asked: int
    resolvers_answering: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSkewFacts(Facts):
    """How much the control plane's clock is ahead of this node's, and how exact that is."""

    clock_offset_ms: int
    clock_error_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAgeFacts(Facts):
    """For how long the node was away that was seen least recently, and from when on that is too long."""

    oldest_age_ms: int
    stale_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTunnelFacts(Facts):
    """No connection to the control plane, the tunnel's age (None: no handshake), and from which address it is asked."""

    addresses: int
    addresses_open: int
    tunnel_handshake_age_s: float | None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlConnectFacts(Facts):
    """Connections to the control plane's addresses, at least one of them open; connect_ms: the quickest one."""

    addresses: int
    addresses_open: int
    connect_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFacts(Facts):
    """How quickly the control plane answers, and the time-outs that suit it."""

    rtt_ms: float
    rtt_min_ms: float
    rtt_p95_ms: float
    rtt_max_ms: float
    answers: int
    advised_http_timeout_ms: int
    advised_heartbeat_s: int
    advised_max_stale_ms: int
    advised_lease_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolmentStepFacts(Facts):
    """One step of an enrolment; http_status: of the answer that failed it, None if none came or none failed it."""

    elapsed_ms: float
    http_status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeathFacts(Facts):
    """What decided that packets, or a request, died at a station; None: it does not apply.

    rule_handle: of the rule that drops or rewrites. chain: as `table chain`. route_type: unicast, blackhole,
    unreachable, prohibit or none. offender: who sent the ICMP error. answered_from: where answers come from. mismatch:
    what the two ends do not share (public key, preshared key, certificate). packet_class: which of a tunnel's packets
    die (handshake, data, large). problem: what is wrong with a URL, a token or an answer, in a word or two.
    """

    rule_handle: int | None = None
    chain: str | None = None
    comment: str | None = None
    route_type: str | None = None
    gateway: str | None = None
    interface: str | None = None
    source: str | None = None
    address: str | None = None
    offender: str | None = None
    answered_from: str | None = None
    endpoint: str | None = None
    port: int | None = None
    public_key: str | None = None
    mismatch: str | None = None
    neighbour: str | None = None
    sysctl: str | None = None
    packet_class: str | None = None
    mtu_bytes: int | None = None
    file: str | None = None
    variable: str | None = None
    problem: str | None = None
    resolver: str | None = None
    asked_name: str | None = None
    answered_address: str | None = None
    http_status: int | None = None
    server: str | None = None
    location: str | None = None
    certificate: str | None = None
    scope_id: str | None = None
    node_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakFacts(Facts):
    """Secrets in a git repository. file: the first files, relative to the repository."""

    places: int
    file: tuple[str, ...]


GIVEN_BY: Mapping[str, tuple[type[Facts], ...]] = {
    "overlay.interface": (InterfaceFacts,),
    "overlay.health": (MemberFacts,),
    "overlay.mtu": (TunnelMtuFacts,),
    "overlay.config": (ConfigDriftFacts,),
    "overlay.session": (HandshakeFacts,),
    "host.rp-filter": (ReversePathFilterFacts,),
    "reach.icmp": (EchoFacts,),
    "reach.udp": (AnswerFacts,),
    "reach.traceroute": (ReverseTraceFacts, TraceFacts),
    "mtu.path": (MtuSearchFacts,),
    "mtu.echo": (MtuEchoFacts, MtuFacts),
    "mtu.loss": (DeathFacts,),
    "mtu.tcp": (TcpFacts,),
    "udp.quality": (LossFacts, AnswerFacts),
    "perf.latency-under-load": (LoadedDelayFacts,),
    "posture.secrets": (LeakFacts,),
    "perf.throughput": (ThroughputFacts,),
    "control.dns": (NameFacts, DeathFacts),
    "control.connect": (ControlTunnelFacts, ControlConnectFacts, DeathFacts),
    "control.health": (HealthFacts,),
    "control.clock": (ClockSkewFacts,),
    "nodes.state": (NodeAgeFacts,),
    "enroll.cycle": (EnrolmentStepFacts,),
    "host.portal": (DeathFacts,),
    "host.network": (DeathFacts,),
    "overlay.route": (DeathFacts,),
    "overlay.rules": (DeathFacts,),
    "way.packet": (DeathFacts,),
}
"""Which facts each check gives, in the order in which a report is read back: the class with more fields first."""


def givers(kinds: Iterable[type[Facts]]) -> frozenset[str]:
    """Ids of the checks that give facts of these classes, or of classes made from them."""
    wanted = tuple(kinds)
    return frozenset(check for check, given in GIVEN_BY.items() if any(issubclass(kind, wanted) for kind in given))
