"""Whether anyone behind this node's own gateway answers, by traces to several endpoints: pure.

One silent endpoint may be off. Where the gateway answers, and for several endpoints in different networks no router
behind it does, what leads on from the gateway is dead, whatever the peers do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.host_port import join_host_port
from preflight.model.icmp import Trace
from preflight.model.remedy import look
from preflight.proto.way.observation import Death

MOST_ENDS = 4
LEAST_SITES = 2
_SITE_BITS = {4: 24, 6: 64}
"""Endpoints in one network of this size may be one place, which is off as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """Towards one endpoint, past the tunnels. gateway, device: by what the kernel's route to it leads."""

    endpoint: tuple[str, int]
    gateway: str
    device: str
    traces: tuple[Trace, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the gateway says itself that it passes nothing on."""
        return any(trace.stopped and trace.hops[-1].address == self.gateway for trace in self.traces)

    @property
    def passed(self) -> bool:
        """Whether anyone but the gateway answered."""
        return any(hop.address not in (None, self.gateway) for trace in self.traces for hop in trace.hops)

    @property
    def gateway_answers(self) -> bool:
        """Whether the gateway did: packets get there, and errors about them come back."""
        return any(hop.address == self.gateway for trace in self.traces for hop in trace.hops)


def sites(addresses: Iterable[str]) -> int:
    """In how many places the addresses are, as far as they show it."""
    networks = (ip_network(address) for address in addresses)
    return len({each.supernet(new_prefix=_SITE_BITS[each.version]) for each in networks})


def dead_network(ends: Sequence[Beyond]) -> Death | None:
    """What is wrong behind the gateway; None unless nobody behind it answers, for endpoints in several places."""
    ways = {(each.gateway, each.device) for each in ends}
    heard = any(each.gateway_answers for each in ends)
    unsent = any(trace.error for each in ends for trace in each.traces)
    if len(ways) != 1 or not heard or unsent or any(each.passed for each in ends):
        return None
    if sites(each.endpoint[0] for each in ends) < LEAST_SITES:
        return None
    ((gateway, device),) = ways
    names = ", ".join(join_host_port(*each.endpoint) for each in ends)
    refused = any(each.refused for each in ends)
    itself = "; it says itself that it has no way on, or lets nothing on" if refused else ""
    return Death(
        code=codes.HOST_NETWORK_DEAD,
        message=f"this node's own gateway, {gateway} on {device}, answers, and nobody behind it does: neither an "
        f"endpoint ({names}) nor a router on the way to one, by UDP and by echo{itself}",
        facts=DeathFacts(gateway=gateway, offender=gateway if refused else None, interface=device),
        remedies=look(
            f"ip route show default; ip -brief link   # on {gateway}: is its own way out up?", where="router"
        ),
    )
