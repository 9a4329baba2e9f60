"""Traces flows through this node's nftables, which names the rule that drops them also where nothing counts.

It needs root, and adds a table that decides nothing. The table belongs to a socket, so the kernel takes it away with
this process, however that ends.
"""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self

from preflight.model.event import Listener, telling
from preflight.model.flow import Flow
from preflight.net.way.nfnetlink import NFTABLES, Nfnetlink
from preflight.proto.way.netfilter import trace
from preflight.proto.way.netfilter.trace import Dropped

_REPORTS = 9
"""The group of netlink that gets the events of traces."""


class RuleTrace:
    """From entering to leaving, every packet of these flows is traced. Raises OSError if the kernel refuses.

    Read what a burst did before the next one is sent: the kernel keeps a limited number of events. Rules of
    iptables-legacy give no events, and neither do drops in front of the priority -450 or at devices.
    """

    def __init__(self, flows: Sequence[Flow], listener: Listener | None = None) -> None:
        self._flows = tuple(flows)
        self._tell = telling(listener, "way.rule_trace")
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self._owner, self._events = opening.enter_context(Nfnetlink()), opening.enter_context(Nfnetlink())
            # It must listen before the first packet is traced.
            self._events.follow(_REPORTS)
            self._owner.make(NFTABLES, trace.batch(f"preflight-trace-{os.getpid()}", self._flows), trace.INET)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def dropped(self) -> tuple[Dropped, ...]:
        """What was dropped since the last time, for `observe_filters`; what was lost unread is missing."""
        messages, complete = self._events.reports()
        events = [message for message in messages if message.kind == trace.TRACE]
        self._tell(time.monotonic(), "rules-traced", events=len(events), complete=complete)
        return tuple(trace.dropped(events, self._flows))
