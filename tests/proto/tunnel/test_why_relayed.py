"""Why a path is relayed: one clause, and one thing to do."""

import pytest

from preflight.model.own_nat import OwnNat
from preflight.model.remedy import as_text
from preflight.proto.tunnel.why_relayed import why_relayed


@pytest.mark.parametrize(
    ("product", "nat", "fact", "todo"),
    [
        ("tailscale", None, "", "Let UDP port 41641 in"),
        ("tailscale", OwnNat(by="netcheck"), "", "Let UDP port 41641 in"),
        ("tailscale", OwnNat(by="netcheck", udp=False), "own UDP does not get out (netcheck)", "UDP out to every port"),
        (
            "tailscale",
            OwnNat(by="netcheck", udp=True, hard=True, translated=True, port_mapping=False),
            "NAT gives each destination another port (netcheck), and no router maps a port for it",
            "Forward UDP port 41641 to this node",
        ),
        (
            "tailscale",
            OwnNat(by="netcheck", udp=True, hard=False, translated=True),
            "NAT that keeps one port for all destinations, and its UDP gets out (netcheck): a filter, or the UDP",
            "tailscale netcheck",
        ),
        ("zerotier", OwnNat(by="ZeroTier", udp=True, translated=False), "this node has no NAT", "zerotier-cli -j info"),
        ("zerotier", OwnNat(by="ZeroTier", udp=True, translated=True), "", "Let UDP port 9993 in"),
        ("zerotier", OwnNat(by="ZeroTier", udp=True, hard=True), "NAT gives each destination", "UDP port 9993"),
        (
            "zerotier",
            OwnNat(by="ZeroTier", udp=True, barred=("10.0.0.0/8",), file="local.conf"),
            "local.conf forbids paths to 10.0.0.0/8 (blacklist)",
            "grep -n blacklist local.conf",
        ),
        ("nebula", OwnNat(by="f", punches=False, file="f.yml"), "punchy.punch is off in f.yml", "punch: true"),
        ("nebula", OwnNat(by="f", punches=True, file="f.yml"), "", "Let UDP port 4242 in"),
    ],
)
def test_the_reason(product: str, nat: OwnNat | None, fact: str, todo: str) -> None:
    """What is not known is not said; and nothing is called a fix, for only one of two sides was seen."""
    said, remedies = why_relayed(product, "nb", nat)
    assert fact in said
    assert bool(said) is bool(fact)
    (remedy,) = remedies
    assert remedy.kind == "next"
    assert todo in (as_text(remedies) or "")
