"""How a rule is named, and what it does to packets, in a sentence."""

from collections.abc import Mapping

from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.ruleset import Chain, Rule
from preflight.proto.way.netfilter.walk import Change, Kill

_DOES: Mapping[str, str] = {
    "drop": "drops",
    "reject": "rejects",
    "queue": "hands to another program",
    "take": "sends to another device",
    "proxy": "hands to a proxy on this node",
    "unknown": "may drop",
}
_KILL_SWITCHES: Mapping[str, str] = {
    **{"mullvad": "Mullvad", "nordvpn": "NordVPN", "protonvpn": "Proton VPN", "pvpn": "Proton VPN"},
    **{"expressvpn": "ExpressVPN", "surfshark": "Surfshark", "windscribe": "Windscribe", "ivpn": "IVPN"},
    **{"airvpn": "AirVPN", "eddie": "AirVPN", "piavpn": "Private Internet Access", "wgpia": "Private Internet Access"},
    **{"cyberghost": "CyberGhost", "warp": "Cloudflare WARP"},
}
"""What names of tables and chains, and comments, say about whose they are."""
_SWITCH = ("killswitch", "kill-switch", "kill switch", "kill_switch", "vpn lockdown", "vpn-lockdown")


def rule_name(chain: Chain, rule: Rule | None) -> str:
    """Where it is and what it says of itself: `rule 7 of table inet guard, chain output (comment "no peers")`."""
    if rule is None:
        return f"the policy of chain {chain_name(chain)} ({_variant(chain)})"
    comment = f' (comment "{rule.comment}")' if rule.comment else ""
    if chain.legacy:
        return f"rule {rule.number} of chain {chain_name(chain)} ({_variant(chain)}){comment}"
    return f"rule {rule.handle} of table {chain.family} {chain.table}, chain {chain.name}{comment}"


def chain_name(chain: Chain) -> str:
    """The table and the chain, as facts name it."""
    return f"{chain.table} {chain.name}"


def _variant(chain: Chain) -> str:
    if chain.legacy:
        return "iptables-legacy" if chain.family == "ip" else "ip6tables-legacy"
    return f"nftables, family {chain.family}"


def packets_of(burst: Burst) -> str:
    """Which packets: to or from whom, with the port that counts."""
    flow = burst.flow
    if flow.is_discovery:
        return f"the question for {flow.destination}" if burst.leaves else f"the answer of {flow.source}"
    large = f"packets of {flow.length_bytes} bytes" if burst.packets == "large" else "packets"
    whose = f"its tunnel's own {large}" if burst.outer else large
    other, port = (flow.destination, flow.destination_port) if burst.leaves else (flow.source, flow.source_port)
    if burst.passes:
        return f"{whose} from {flow.source} to {flow.destination}"
    return f"{whose} {'to' if burst.leaves else 'from'} {other}{_port(flow.protocol, port)}"


def _port(protocol: str, port: int | None) -> str:
    if protocol == "icmp":
        return " (ICMP)"
    return f" {protocol.upper()}" if port is None else f" {protocol.upper()} port {port}"


def what_it_does(burst: Burst, what: Kill | Change) -> str:
    """The sentence of a death that is certain."""
    rule = f"{rule_name(what.chain, what.rule)}{_whose(what)}"
    if isinstance(what, Kill):
        return f"this node's own firewall {_DOES[what.kind]} {packets_of(burst)}: {rule}"
    return f"this node's own firewall changes {packets_of(burst)}: {rule} {_changed(what)}"


def what_it_may_do(burst: Burst, what: Kill | Change) -> str:
    """The same where the rule fits, and nothing proves that it was this one."""
    rule = f"{rule_name(what.chain, what.rule)}{_whose(what)}"
    does = "change" if isinstance(what, Change) else "stop"
    shown = f"its counter moved by {what.counted} meanwhile" if what.counted else "no counter shows it"
    return f"only one rule of this node's own firewall can {does} {packets_of(burst)}, and {shown}: {rule}"


def _changed(change: Change) -> str:
    action = change.action
    if action.kind in ("snat", "masquerade") or action.source or action.source_port:
        return f"gives them the source {_place(action.source or 'another one', action.source_port)}"
    port = action.destination_port
    if action.kind == "redirect" or action.destination is None:
        return f"redirects them to port {port} of this node" if port else "redirects them to this node"
    return f"sends them to {_place(action.destination, port)}"


def _place(address: str, port: int | None) -> str:
    return f"{address} port {port}" if port else address


def _whose(what: Kill | Change) -> str:
    """Another VPN's kill switch, if a name or a comment says so."""
    said = " ".join((what.chain.table, what.chain.name, what.rule.comment or "" if what.rule else "")).lower()
    maker = next((name for word, name in _KILL_SWITCHES.items() if word in said), None)
    if maker is not None:
        return f", which belongs to {maker}: the kill switch of another VPN"
    return ", the kill switch of another VPN" if any(word in said for word in _SWITCH) else ""
