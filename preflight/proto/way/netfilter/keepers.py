"""Who writes a firewall's rules, so that what lets packets pass outlives the next time that they are loaded: pure.

A rule that is put between those of ufw or firewalld is gone after their next reload: the change has to be made by them.
"""

from preflight.model.remedy import Remedies, by_hand
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.ruleset import Chain

_LEGACY = "iptables-legacy-save > /etc/iptables/rules.v4 (ip6tables-legacy-save: rules.v6)"
_IPTABLES = "iptables-save > /etc/iptables/rules.v4 (ip6tables-save: rules.v6)"
_NFT = "the same rule in the file that loads this table, such as /etc/nftables.conf"
_ICMPV6 = "--add-protocol=ipv6-icmp"
_OF_IPTABLES = frozenset(("filter", "nat", "mangle", "raw", "security"))


def keeps(burst: Burst, chain: Chain) -> str:
    """What makes a rule that lets the flow pass this chain last: a line of the program that manages the chain."""
    led_to = {each.verdict.chain or "" for rule in chain.rules for each in rule.expressions if each.verdict is not None}
    names = (chain.name, *led_to)
    if any(name.startswith(("ufw-", "ufw6-")) for name in names):
        return "the same in /etc/ufw/before6.rules, as ufw has it at first" if burst.flow.is_discovery else _ufw(burst)
    if burst.passes and any(name.startswith("DOCKER") for name in names):
        return "the same rule in the chain DOCKER-USER, set after Docker starts"
    if chain.legacy:
        return _LEGACY
    made_by_iptables = chain.family in ("ip", "ip6") and chain.table in _OF_IPTABLES and chain.name.isupper()
    return _IPTABLES if made_by_iptables else _NFT


def in_firewalld(burst: Burst, chain: Chain) -> Remedies:
    """The same as a change of firewalld's own, whose table may take no rules of others; nothing if it is not its table.

    Packets from an address in a zone are judged by that zone before the one of their device. What this node sends is
    filtered by policies, which only their owner can change rightly.
    """
    if chain.table != "firewalld" or burst.leaves or burst.passes:
        return ()
    flow = burst.flow
    if flow.is_discovery:
        return by_hand(f"firewall-cmd {_ICMPV6}", root=True, lasting=f"firewall-cmd --permanent {_ICMPV6}")
    opens = f"--zone=trusted --add-source={flow.source}"
    if burst.outer and flow.destination_port:
        opens = f"--add-port={flow.destination_port}/udp"
    return by_hand(f"firewall-cmd {opens}", root=True, lasting=f"firewall-cmd --permanent {opens}")


def _ufw(burst: Burst) -> str:
    """ufw's line for all that two hosts exchange in the tunnel, or for the tunnel's own packets."""
    flow = burst.flow
    if burst.passes:
        ways = f"in on {flow.interface_in} out on {flow.interface_out}"
        return f"ufw route prepend allow {ways} from {flow.source} to {flow.destination}"
    if burst.outer and burst.leaves:
        own = f" from any port {flow.source_port}" if flow.source_port else ""
        return f"ufw prepend allow out proto udp{own} to {'any' if own else flow.destination}"
    if burst.outer:
        own = f"any port {flow.destination_port}" if flow.destination_port else "any"
        return f"ufw prepend allow in proto udp from {'any' if flow.destination_port else flow.source} to {own}"
    if burst.leaves:
        return f"ufw prepend allow out on {flow.interface_out} to {flow.destination}"
    return f"ufw prepend allow in on {flow.interface_in} from {flow.source}"
