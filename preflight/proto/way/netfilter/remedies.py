"""What lets a flow pass the rule that stops it, and nothing else."""

from typing import Any, Literal

from preflight.model.fix import FilterPass, FlowForget, IptablesPass
from preflight.model.remedy import Remedies, heal, look
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.keepers import in_firewalld, keeps
from preflight.proto.way.netfilter.ruleset import Chain, Hook, Rule
from preflight.proto.way.netfilter.walk import Change, Kill

_DEVICES_KNOWN: dict[Hook, tuple[bool, bool]] = {
    "prerouting": (True, False),
    "input": (True, False),
    "forward": (True, True),
    "output": (False, True),
    "postrouting": (False, True),
}
"""Whether a rule at a hook can ask for the device that packets come in by, and leave by."""


def let_pass(burst: Burst, hook: Hook, what: Kill | Change) -> Remedies:
    """The rule in front of that one, or behind the last one for a policy; and what forgets a translation."""
    return _passing(burst, hook, what) + (_forgotten(burst) if isinstance(what, Change) and burst.outer else ())


def makes_room(remedies: Remedies) -> bool:
    """Whether they are rules that let packets pass in front of others."""
    rules = (FilterPass, IptablesPass, FlowForget)
    return bool(remedies) and all(isinstance(remedy.fix, rules) for remedy in remedies)


def _forgotten(burst: Burst) -> Remedies:
    """A tunnel's flow never ends, and connection tracking translates it as before for as long as it lives."""
    flow = burst.flow
    if burst.leaves:
        return heal(lambda: FlowForget(destination=flow.destination, destination_port=flow.destination_port))
    return heal(lambda: FlowForget(source=flow.source, source_port=flow.source_port))


def _passing(burst: Burst, hook: Hook, what: Kill | Change) -> Remedies:
    chain, rule = what.chain, what.rule
    if chain.legacy:
        family: Literal["ip", "ip6"] = "ip6" if chain.family == "ip6" else "ip"
        before = None if rule is None else rule.number
        return heal(
            lambda: IptablesPass(
                family=family, table=chain.table, chain=chain.name, before=before, **_match(burst, hook, chain)
            ),
            lasting=keeps(burst, chain),
        )
    through_firewalld = in_firewalld(burst, chain)
    return through_firewalld or heal(
        lambda: _in_nft(chain, rule, _match(burst, hook, chain)), lasting=keeps(burst, chain)
    )


def _in_nft(chain: Chain, rule: Rule | None, match: dict[str, Any]) -> FilterPass:
    family = chain.family
    if family == "arp" or family == "bridge":
        raise ValueError(f"{family} has no rules for these packets")
    handle = None if rule is None else rule.handle
    return FilterPass(family=family, table=chain.table, chain=chain.name, before=handle, **match)


def _match(burst: Burst, hook: Hook, chain: Chain) -> dict[str, Any]:
    """Inside the tunnel: all that these two hosts exchange; outside: all that the tunnel itself sends or gets."""
    flow = burst.flow
    comes_in, goes_out = _DEVICES_KNOWN.get(hook, (False, False)) if chain.family != "netdev" else (False, False)
    devices: dict[str, Any] = {}
    if comes_in and flow.interface_in:
        devices["interface_in"] = flow.interface_in
    if goes_out and flow.interface_out:
        devices["interface_out"] = flow.interface_out
    if flow.is_discovery:
        return {**devices, "protocol": "ipv6-icmp"}
    if burst.outer and (own := _own_port(burst)):
        return {"protocol": "udp", **own}
    if burst.outer:
        return {"protocol": "udp", "destination" if burst.leaves else "source": _other(burst)}
    if burst.passes:
        return {**devices, "source": flow.source, "destination": flow.destination}
    return {**devices, "destination" if burst.leaves else "source": _other(burst)}


def _own_port(burst: Burst) -> dict[str, int]:
    """The tunnel's own port: whatever it exchanges with all its peers. VXLAN sends from any port to one."""
    flow = burst.flow
    if burst.leaves:
        if flow.source_port:
            return {"source_port": flow.source_port}
        return {"destination_port": flow.destination_port} if flow.destination_port else {}
    return {"destination_port": flow.destination_port} if flow.destination_port else {}


def _other(burst: Burst) -> str:
    return burst.flow.destination if burst.leaves else burst.flow.source


def look_at(chain: Chain) -> Remedies:
    """What shows the chain with its counters."""
    if chain.legacy:
        program = "iptables-legacy" if chain.family == "ip" else "ip6tables-legacy"
        return look(f"{program} -t {chain.table} -vnL {chain.name} --line-numbers", root=True)
    return look(f"nft -a list chain {chain.family} {chain.table} {chain.name}", root=True)
