"""Parts that faults share: commands of ip(8), nft(8) and iptables, written once for every family of the overlay.

In their text `$node` and `$peer` are the overlay addresses of the member and of the other one, `$tunnel` the device
between them, `$lan` the uplink with the address `$home` and the gateway `$gateway`, `$third` the address of c, and
`$prefix` the overlay; `$a` and `$b` are these two members' addresses, `$ip`, `$icmp` and `$length` say the family.
"""

import json
from string import Template
from typing import TYPE_CHECKING

from preflight.lab.names import LabError
from preflight.lab.network import UNDERLAY
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.topology import Family

if TYPE_CHECKING:
    from preflight.lab.network import Network

OTHER = {"a": "b", "b": "a"}


def device(network: "Network", node: str, peer: str) -> str:
    """The tunnel of a member that leads to another one."""
    return network.tunnel_to(node, peer)


def filled(network: "Network", node: str, text: str, family: Family) -> str:
    """A text with its names replaced, for one family."""
    peer = OTHER.get(node, "b")
    names = {
        "ip": "ip" if family == 4 else "ip6",
        "icmp": "icmp" if family == 4 else "icmpv6",
        "length": 32 if family == 4 else 128,
        "node": network.plan.address(node, family),
        "peer": network.plan.address(peer, family),
        "tunnel": device(network, node, peer),
        "lan": UNDERLAY,
        "third": network.plan.address("c", family),
        "a": network.plan.address("a", family),
        "b": network.plan.address("b", family),
        "prefix": network.plan.prefixes[family],
    }
    if "$gateway" in text:
        names["gateway"] = network.plan.gateway(node, family)
    if "$home" in text:
        names["home"] = home(network, node, family)
    return Template(text).substitute(names)


def home(network: "Network", node: str, family: Family) -> str:
    """The address of a member's uplink."""
    words = ("-j", f"-{family}", "address", "show", "dev", UNDERLAY, "scope", "global")
    found = json.loads(run(network.command(node, program("ip"), *words)))
    addresses = [each["local"] for link in found for each in link.get("addr_info", ()) if "local" in each]
    if not addresses:
        raise LabError(f"{node} has no address on {UNDERLAY}")
    return str(addresses[0])


def once(summary: str, node: str, *lines: str) -> Part:
    """Lines of ip(8) that have nothing to do with a family."""

    def inject(network: "Network") -> None:
        text = "".join(f"{filled(network, node, line, network.plan.families[0])}\n" for line in lines)
        run(network.command(node, program("ip"), "-batch", "-"), text=text)

    return Part(summary, inject=inject)


def commands(summary: str, node: str, *lines: str, families: tuple[Family, ...] = (4, 6)) -> Part:
    """Lines of ip(8), for each family of the overlay that is among these."""

    def inject(network: "Network") -> None:
        for family in network.plan.families:
            if family in families:
                text = "".join(f"{filled(network, node, line, family)}\n" for line in lines)
                run(network.command(node, program("ip"), f"-{family}", "-batch", "-"), text=text)

    return Part(summary, inject=inject)


def ruleset(summary: str, node: str, *lines: str) -> Part:
    """Lines of nft(8); a line with `$ip` or `$icmp` is there once for each family."""

    def inject(network: "Network") -> None:
        run(network.command(node, program("nft"), "-f", "-"), text="\n".join(_lines(network, node, lines)))

    return Part(summary, inject=inject)


def _lines(network: "Network", node: str, lines: tuple[str, ...]) -> list[str]:
    families = network.plan.families
    return [
        filled(network, node, line, each)
        for line in lines
        for each in (families if "$ip" in line or "$icmp" in line else families[:1])
    ]


def ipsec(summary: str, node: str, words: str) -> Part:
    """One policy of IPsec for each family of the overlay."""

    def inject(network: "Network") -> None:
        for family in network.plan.families:
            policy = filled(network, node, words, family).split()
            run(network.command(node, program("ip"), "xfrm", "policy", "add", *policy))

    return Part(summary, inject=inject)


def iptables(summary: str, node: str, variant: str, words: str) -> Part:
    """One rule of iptables and of ip6tables, as far as the overlay has the family. variant: `nft` or `legacy`."""

    def inject(network: "Network") -> None:
        for family in network.plan.families:
            tool = program(f"{'iptables' if family == 4 else 'ip6tables'}-{variant}")
            run(network.command(node, tool, "-w", *filled(network, node, words, family).split()))

    return Part(summary, inject=inject)
