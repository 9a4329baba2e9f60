"""Who has a UDP port of this node, as plain data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UdpPort:
    """One bound UDP socket. program: of the process that has it, None if that is not known or it is the kernel's.

    drops: datagrams that its full queue dropped.
    """

    port: int
    address: str
    program: str | None = None
    drops: int = 0
