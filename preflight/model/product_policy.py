"""What a product itself lets this node send and receive, as its configuration says it."""

from dataclasses import dataclass
from typing import Literal

from preflight.model.kernel import IPNetwork


@dataclass(frozen=True, slots=True)
class Permit:
    """One rule: what it lets pass. protocol, ports: None for any. to: the networks that it is for, empty for any.

    named: whom it is for by names or groups of certificates, which this node cannot compare with an address.
    """

    protocol: Literal["udp", "tcp", "icmp"] | None = None
    ports: tuple[int, int] | None = None
    to: tuple[IPNetwork, ...] = ()
    named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutPolicy:
    """All that may leave; everything else the product drops. file: where it is written.

    inbound: the same of what may come in without a question of this node; None where that is not known.
    """

    file: str
    permits: tuple[Permit, ...]
    inbound: tuple[Permit, ...] | None = None
