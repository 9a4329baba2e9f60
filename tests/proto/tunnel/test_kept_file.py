"""A change of a tunnel, and the same change in its wg-quick file."""

import pytest

from preflight.model.fix import Fix, LinkMtu, WireguardPeer, WireguardPort
from preflight.model.overlay import ConfiguredPeer, ConfiguredTunnel, OverlayState
from preflight.model.remedy import heal
from preflight.proto.tunnel.kept_file import with_file

KEY = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
FILE = ConfiguredTunnel("/etc/wireguard/wg0.conf", mtu=1420, listen_port=51820, peers=(ConfiguredPeer(KEY),))


def written(fix: Fix, file: ConfiguredTunnel | None = FILE, where: str = "node") -> list[str]:
    """What is changed in the file."""
    tunnel = OverlayState("wireguard", "wg0", up=True, mtu=1420, configured=file)
    (_, *more) = with_file(heal(lambda: fix, where=where), [tunnel])  # type: ignore[arg-type]
    return [f"{each.fix.setting} = {each.fix.value}" for each in more if each.fix]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fix", "lines"),
    [
        (LinkMtu(interface="wg0", mtu_bytes=1380), ["MTU = 1380"]),
        (LinkMtu(interface="wg0", mtu_bytes=1420), []),
        (WireguardPort(interface="wg0", port=51821), ["ListenPort = 51821"]),
        (LinkMtu(interface="wg1", mtu_bytes=1380), []),
        # The file has neither for this peer.
        (
            WireguardPeer(interface="wg0", key=KEY, keepalive_s=25, allowed_ips=("10.66.0.2/32",)),
            ["AllowedIPs = 10.66.0.2/32", "PersistentKeepalive = 25"],
        ),
    ],
)
def test_a_value_that_the_file_has(fix: Fix, lines: list[str]) -> None:
    """A restart would bring the old one back, and until then each run warns of the difference."""
    assert written(fix) == lines


def test_nothing_is_written() -> None:
    """Without a file, into one that the product writes itself, or for a tunnel of the peer."""
    fix = LinkMtu(interface="wg0", mtu_bytes=1380)
    assert written(fix, None) == written(fix, ConfiguredTunnel("/f", mtu=1420, saves=True)) == []
    assert written(fix, where="peer") == []
