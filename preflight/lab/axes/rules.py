"""Which values of axes do not fit together, and why: data, so that a draw can ask before anything is built."""

from collections.abc import Mapping
from dataclasses import dataclass

from preflight.lab.axes.setup import Setup


@dataclass(frozen=True, slots=True)
class Rule:
    """What cannot exist: each named axis has one of the values (`!` before them: none of these)."""

    why: str
    where: Mapping[str, str]

    def forbids(self, setup: Setup) -> bool:
        """Whether the set-up is of this kind."""
        return all(_matches(setup[axis], pattern) for axis, pattern in self.where.items())


def _matches(value: str, pattern: str) -> bool:
    names = pattern.removeprefix("!").split()
    return (value in names) is not pattern.startswith("!")


RULES: tuple[Rule, ...] = (
    Rule("this Nebula has IPv4 addresses only", {"product": "nebula", "families": "!ipv4"}),
    Rule("what does not exist speaks no TLS", {"control": "none", "transport": "!plain"}),
    Rule("what does not exist is nowhere", {"control": "none", "home": "!third"}),
    Rule("what does not exist has no gateway", {"control": "none", "gateway": "!nginx"}),
    Rule("a asks no resolver for the control host", {"control": "!dns search", "resolver": "!own"}),
    Rule("what does not exist has no nodes", {"control": "none", "cluster": "!empty"}),
    Rule(
        "VXLAN has no hub, and Nebula's relays pass on what is outside the tunnel",
        {"product": "vxlan nebula", "layout": "hub"},
    ),
    Rule("wg-quick makes tunnels of WireGuard only", {"product": "!wireguard", "routes": "host default per-peer"}),
    Rule("neither VXLAN nor Nebula takes over the default route", {"product": "vxlan nebula", "routes": "halves"}),
    Rule("in a hub a has one peer", {"layout": "hub", "routes": "per-peer"}),
    Rule(
        "with a tunnel for each peer, nobody has forty that are offline",
        {"routes": "per-peer", "others": "many-offline"},
    ),
    Rule(
        "wg-quick makes a tunnel where it runs, and a container has no uplink",
        {"namespace": "!host", "routes": "!subnet wider"},
    ),
    Rule("a container has no LAN to which a wider route could lead", {"namespace": "container", "routes": "wider"}),
    Rule("home routers and carriers translate IPv4 only", {"nat": "!none", "outer": "ipv6"}),
    Rule(
        "a translation lets no VXLAN in: its answers go to a port that never spoke",
        {"nat": "!none", "product": "vxlan"},
    ),
    Rule("the lab moves only devices that it sets up itself", {"namespace": "container", "product": "nebula openvpn"}),
    Rule("a container without an uplink reaches no resolver", {"namespace": "container", "control": "dns search"}),
    Rule("in the lab a container has one tunnel", {"namespace": "container", "second_vpn": "other"}),
    Rule("IPv6 needs 1280 bytes, more than fit a tunnel in such links", {"link_mtu": "1280", "families": "!ipv4"}),
    Rule("the underlay has IPv6, which needs 1280 bytes", {"link_mtu": "1280", "below": "tunnel"}),
)


def broken_rule(setup: Setup) -> Rule | None:
    """The first rule that a set-up breaks; None if it can exist."""
    return next((rule for rule in RULES if rule.forbids(setup)), None)
