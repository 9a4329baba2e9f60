"""The peer's report about a NAT on the path between two tunnels, as plain data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from preflight.model.host_port import split_host_port


@dataclass(frozen=True, slots=True)
class AfterSilence:
    """One silence that ended with a packet of the peer's.

    agreed: whether the peer promised to send; else `rejected` counts what came instead, by reason.
    step_s: the planned length. silent_s: how long the tunnel's counters did not change; None if they could not be read.
    sent: packets that the peer sent at its end, None if it did not report them. arrived: whether one came in.
    """

    step_s: float
    arrived: bool
    sent: int | None = None
    silent_s: float | None = None
    agreed: bool = True
    rejected: Mapping[str, int] = field(default_factory=dict)


def translated(seen_as: str, own: Iterable[str], port: int | None) -> bool:
    """Whether a tunnel that the peer sees at the endpoint `ADDRESS:PORT` is behind a NAT.

    own: all addresses of this node. port: the one that its tunnel listens on, None if that is not known.
    """
    host, seen_port = split_host_port(seen_as)
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped not in {ip_address(each) for each in own} or port not in (None, seen_port)
