"""Why a path is relayed: one clause, and one thing to do."""

import pytest

from preflight.model.complaint import Complaint
from preflight.model.overlay import OverlayState
from preflight.model.own_nat import OwnNat
from preflight.model.remedy import as_text
from preflight.proto.tunnel.reason_levers import of_warning
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
    said, remedies = why_relayed(OverlayState(product, None, up=True, mtu=1280), "nb", nat)
    assert fact in said
    assert bool(said) is bool(fact)
    (remedy,) = remedies
    assert remedy.kind == "next"
    assert todo in (as_text(remedies) or "")


def test_a_daemon_without_a_port() -> None:
    """Its own warning is the reason, and the lever is that of the warning, so that both are one cause."""
    unbound = Complaint("overlay.unhealthy", "Tailscale couldn't listen for incoming UDP connections")
    state = OverlayState("tailscale", "tailscale0", up=True, mtu=1280, complaints=(unbound,))
    said, remedies = why_relayed(state, "nb", OwnNat(by="netcheck", udp=False))
    assert said == "; this node has no UDP port for it (Tailscale couldn't listen for incoming UDP connections)"
    assert remedies == of_warning(state, unbound.said)
