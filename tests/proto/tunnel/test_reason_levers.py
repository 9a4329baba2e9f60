"""What to do about a reason in a daemon's words: the line that fits it, and nothing for other words."""

from dataclasses import replace

import pytest

from preflight.model.overlay import OverlayState
from preflight.model.remedy import as_text
from preflight.proto.tunnel import levers
from preflight.proto.tunnel.reason_levers import let_alone, of_login, of_warning

TAILNET = OverlayState("tailscale", "tailscale0", up=False, mtu=None)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("this node is locked out; it will not have connectivity until it is signed", "`tailscale lock sign` line"),
        ("Tailscale control plane syncing is disabled; run `tailscale set --sync` to restore", "tailscale set --sync"),
        ("Subnet routing is enabled, but IP forwarding is disabled", "net.ipv4.ip_forward=1"),
        ("encrypted connection with '\"hs.example\"': x509: certificate has expired or is not yet valid", "date -u"),
        ("encrypted connection with '\"hs.example\"': x509: unknown authority", "-connect hs.example:443"),
        ("A security update from version 1.78.1 to 1.80.3 is available.", "tailscale update"),
        (
            "Exit node misconfiguration: The following issues on your machine will likely make usage of exit nodes "
            'impossible: [interface "eth0" has strict reverse-path filtering enabled], please set rp_filter=2 instead',
            "net.ipv4.conf.all.rp_filter=2",
        ),
        ("snat-subnet-routes is disabled while advertising as an exit node", "tailscale set --snat-subnet-routes"),
        ("The MagicSock function ReceiveIPv4 is not running.", "journalctl -u tailscaled"),
        ("Something new is wrong", None),
    ],
)
def test_warnings(said: str, line: str | None) -> None:
    """A warning that is not known gets no advice, and no other product's."""
    remedies = of_warning(TAILNET, said)
    assert (line in (as_text(remedies) or "")) if line is not None and remedies is not None else remedies is None
    assert of_warning(replace(TAILNET, product="zerotier"), said) is None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("unsupported client version: 1.38.4 (capability version: 58)", "tailscale update"),
        ("requested tags [tag:server] are invalid or not permitted", "tagOwners"),
        ("invalid authkey", "tailscale up --auth-key=file:FILE --login-server=https://hs.example"),
        ("x509: certificate signed by unknown authority", "date -u"),
        ('Get "https://hs.example/key?v=1": tls: x509: unknown authority', "-connect hs.example:443"),
        ('Get "https://hs.example:8443/key": dial tcp: connection refused', "https://hs.example:8443/key?v=100"),
        ("dial tcp 192.0.2.7:443: i/o timeout", "https://hs.example/key?v=100"),
        ("something else", "tailscale up --login-server=https://hs.example"),
    ],
)
def test_login_errors(error: str, line: str) -> None:
    """`tailscale up` alone brings the same error again."""
    said = (f"You are logged out. The last login error was: {error}",)
    state = replace(TAILNET, health=said, control_server="https://hs.example")
    assert line in (as_text(levers.tailscale(state, "overlay.logged-out")) or "")


def test_no_login_error() -> None:
    """Then a login is what it takes."""
    assert of_login(TAILNET, "") is None


def test_who_overwrites_the_resolvers() -> None:
    """A program that is known has its own switch; of another one the file is shown."""
    assert "rc-manager=unmanaged" in (as_text(let_alone("NetworkManager")) or "")
    assert "by DNS = in its file" in (as_text(let_alone("resolvconf")) or "")
    assert "which program writes it?" in (as_text(let_alone("")) or "")
