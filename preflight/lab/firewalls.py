"""Firewalls as people set them up: what nobody needs is dropped, in both directions, and the overlay works."""

from typing import TYPE_CHECKING

from preflight.lab.links import BELOW_PORT
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.topology import CONTROL_PORT, TUNNEL_PORT

if TYPE_CHECKING:
    from preflight.lab.network import Network

TUNNEL_PORTS = (str(TUNNEL_PORT), "4789", str(BELOW_PORT))
"""WireGuard's, Nebula's and OpenVPN's in the lab, VXLAN's, and that of the tunnel below in some set-ups."""
_UDP_OUT = ("53", "67", "123", "547")
_TCP_OUT = ("53", "80", "443", str(CONTROL_PORT))


def nftables() -> Part:
    """Every member, and the host of a container, has an nftables firewall that drops by default."""

    def underlay(network: "Network") -> None:
        for node in _guarded(network):
            run(network.command(node, program("nft"), "-f", "-"), text=_nft(network))

    return Part("nftables drops by default", underlay=underlay)


def iptables_legacy() -> Part:
    """The same with the older iptables, of which nftables shows nothing."""

    def underlay(network: "Network") -> None:
        for node in _guarded(network):
            for command, icmp in (("iptables-legacy-restore", "icmp"), ("ip6tables-legacy-restore", "ipv6-icmp")):
                run(network.command(node, program(command)), text=_iptables(network, icmp))

    return Part("iptables-legacy drops by default", underlay=underlay)


def _guarded(network: "Network") -> tuple[str, ...]:
    members = network.plan.topology.members
    return (*members, *(host for host in map(network.plan.outer, members) if host not in members))


def _overlays(network: "Network") -> str:
    """The first letters of the names of all overlays' devices in a lab."""
    return network.names.tunnel("")


def _nft(network: "Network") -> str:
    ports, udp, tcp = (f"{{ {', '.join(each)} }}" for each in (TUNNEL_PORTS, _UDP_OUT, _TCP_OUT))
    inner = f'"{_overlays(network)}*"'
    known = "ct state established,related accept\n    ct state invalid drop"
    return f"""
table inet filter {{
  chain input {{
    type filter hook input priority filter; policy drop;
    {known}
    iif lo accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
    udp dport {ports} accept comment "tunnel"
    iifname {inner} accept comment "overlay"
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    {known}
    iifname {inner} accept
    oifname {inner} accept
  }}
  chain output {{
    type filter hook output priority filter; policy drop;
    {known}
    oif lo accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
    udp dport {ports} accept comment "tunnel"
    udp sport {ports} accept comment "tunnel"
    oifname {inner} accept comment "overlay"
    udp dport {udp} accept
    tcp dport {tcp} accept
  }}
}}
"""


def _iptables(network: "Network", icmp: str) -> str:
    inner = f"{_overlays(network)}+"
    ports, udp, tcp = (",".join(each) for each in (TUNNEL_PORTS, _UDP_OUT, _TCP_OUT))
    both = ("INPUT", "OUTPUT", "FORWARD")
    lines = ["*filter", *(f":{chain} DROP [0:0]" for chain in both)]
    for chain in both:
        lines.append(f"-A {chain} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT")
        lines.append(f"-A {chain} -m conntrack --ctstate INVALID -j DROP")
    lines += ["-A INPUT -i lo -j ACCEPT", "-A OUTPUT -o lo -j ACCEPT"]
    lines += [f"-A {chain} -p {icmp} -j ACCEPT" for chain in ("INPUT", "OUTPUT")]
    lines += [f"-A {chain} -p udp -m multiport --dports {ports} -j ACCEPT" for chain in ("INPUT", "OUTPUT")]
    lines.append(f"-A OUTPUT -p udp -m multiport --sports {ports} -j ACCEPT")
    lines += [f"-A {chain} -i {inner} -j ACCEPT" for chain in ("INPUT", "FORWARD")]
    lines += [f"-A {chain} -o {inner} -j ACCEPT" for chain in ("OUTPUT", "FORWARD")]
    lines.append(f"-A OUTPUT -p udp -m multiport --dports {udp} -j ACCEPT")
    lines.append(f"-A OUTPUT -p tcp -m multiport --dports {tcp} -j ACCEPT")
    return "\n".join([*lines, "COMMIT", ""])
