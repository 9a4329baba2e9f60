"""Many addresses at once, from one socket per family, without an event loop: who answers?"""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic

from preflight.model.icmp import EchoStats
from preflight.net.drive import drive_blocking
from preflight.net.icmp.echo import open_sweep
from preflight.proto.icmp.sweep import PACKETS_PER_SECOND, EchoSweep


@dataclass(frozen=True, slots=True)
class Pace:
    """How a sweep is sent; times in seconds. interval_s: between any two requests; period_s: to one address."""

    count: int = 3
    interval_s: float = 1 / PACKETS_PER_SECOND
    period_s: float = 0.02
    timeout_s: float = 1.0


def sweep_addresses(addresses: Sequence[str], pace: Pace) -> list[EchoStats]:
    """Sweep literal addresses of both families; stats in their order.

    Raises PermissionError if this process may not send echoes.
    """
    families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
    count, period_s, timeout_s = pace.count, pace.period_s, pace.timeout_s
    with ExitStack() as stack:
        links: dict[socket.AddressFamily, socket.socket] = {}
        sweeps: dict[socket.AddressFamily, EchoSweep] = {}
        for family in dict.fromkeys(families):
            links[family], sweeps[family] = open_sweep(family, 1 / pace.interval_s)
            stack.enter_context(links[family])
        now = monotonic()
        bursts = [
            sweeps[family].sweep.add(address, count=count, interval_s=period_s, timeout_s=timeout_s, now=now)
            for address, family in zip(addresses, families, strict=True)
        ]
        drive_blocking({links[family]: sweep for family, sweep in sweeps.items()})
    return [burst.stats for burst in bursts]
