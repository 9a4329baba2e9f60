"""What a product itself lets this node send, as its configuration says it."""

from dataclasses import dataclass
from typing import Literal

from preflight.model.kernel import IPNetwork


@dataclass(frozen=True, slots=True)
class Permit:
    """One rule: what it lets out. protocol, ports: None for any. to: the networks that it is for, empty for any.

    named: whom it is for by names or groups of certificates, which this node cannot compare with an address.
    """

    protocol: Literal["udp", "tcp", "icmp"] | None = None
    ports: tuple[int, int] | None = None
    to: tuple[IPNetwork, ...] = ()
    named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutPolicy:
    """All that may leave; everything else the product drops. file: where it is written."""

    file: str
    permits: tuple[Permit, ...]
