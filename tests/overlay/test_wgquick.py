"""wg-quick files: what is read of them, what is never kept, and which files do not belong to it."""

from base64 import b64encode
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from preflight.model.overlay import ConfiguredPeer, ConfiguredTunnel
from preflight.overlay import wgquick
from preflight.overlay.keys import derive_public_key
from preflight.overlay.wgquick import parse_configured

PRIVATE = bytes(range(32))
PRIVATE_TEXT = b64encode(PRIVATE).decode()
PRESHARED = "cHJlc2hhcmVkIGtleXMgYXJlIHNlY3JldHMgYXMgd2VsbCE="
FILE = f"""
# made by hand
[Interface]
PrivateKey = {PRIVATE_TEXT}
address = 10.66.0.1/24, fd66::1/64
Address = 10.77.0.1/32   # a second one
ListenPort = 51820
MTU = 1320
DNS = 10.66.0.53
PostUp = iptables -A FORWARD -i %i -j ACCEPT

[Peer]
PublicKey = KEY-OF-B
PresharedKey = {PRESHARED}
AllowedIPs = 10.66.0.2/32
AllowedIPs = fd66::2/128, 192.168.7.9/24
Endpoint = b.example:51820
PersistentKeepalive = 25

[peer]
publickey=KEY-OF-C
PersistentKeepalive = off
"""


def test_a_file_is_read_as_wg_quick_reads_it() -> None:
    """Keys without regard to case, lists on one line or on several, comments, settings that do not matter here."""
    assert parse_configured("wg0.conf", FILE) == ConfiguredTunnel(
        path="wg0.conf",
        mtu=1320,
        listen_port=51820,
        addresses=(ip_interface("10.66.0.1/24"), ip_interface("fd66::1/64"), ip_interface("10.77.0.1/32")),
        public_key=derive_public_key(PRIVATE),
        peers=(
            ConfiguredPeer(
                "KEY-OF-B",
                (ip_network("10.66.0.2/32"), ip_network("fd66::2/128"), ip_network("192.168.7.0/24")),
                25,
                "b.example:51820",
            ),
            ConfiguredPeer("KEY-OF-C"),
        ),
    )


def test_no_secret_leaves_the_parser() -> None:
    """Neither the private nor a preshared key is in what is kept, also not where the file is broken."""
    kept = repr(parse_configured("wg0.conf", FILE))
    assert PRIVATE_TEXT not in kept
    assert PRESHARED not in kept
    with pytest.raises(ValueError, match="neither a section nor a setting") as refused:
        parse_configured("wg0.conf", FILE + f"\n{PRIVATE_TEXT.rstrip('=')}\n")
    assert PRIVATE_TEXT.rstrip("=") not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[Peer]\nPublicKey = x", "PrivateKey = x", "[Interface]\nMTU = big", "\x00\x01"])
def test_what_is_no_file_of_wg_quick_is_refused(text: str) -> None:
    """A foreign or half-written file gives no comparison, and never a wrong one."""
    with pytest.raises(ValueError, match=r".*"):
        parse_configured("wg0.conf", text)


def test_save_config_and_a_private_key_that_is_none() -> None:
    """With SaveConfig the file follows the live state; a placeholder instead of a key has no public half."""
    found = parse_configured("wg0.conf", "[Interface]\nSaveConfig = true\nPrivateKey = REPLACE-ME")
    assert (found.saves, found.public_key) == (True, None)


def test_which_tunnels_are_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the peers; what exists already is not started again."""
    monkeypatch.setattr(wgquick, "FOLDER", tmp_path)
    for name, network in (("wg0", "10.66.0.0/24"), ("wg1", "10.77.0.0/24")):
        (tmp_path / f"{name}.conf").write_text(f"[Interface]\n[Peer]\nAllowedIPs = {network}\n")
    assert wgquick.stopped(["eth0"], ["10.66.0.2"]) == ("wg0",)
    assert wgquick.stopped(["eth0"], []) == ("wg0", "wg1")
    assert wgquick.stopped(["eth0"], ["10.9.0.2"]) == (), "nobody asked for another one"
    assert wgquick.stopped(["eth0", "wg0"], ["10.66.0.2"]) == ()


@pytest.mark.parametrize(
    ("line", "table"), [("", None), ("Table = auto", None), ("Table = Off", "off"), ("Table = 1234", "1234")]
)
def test_where_its_routes_go(line: str, table: str | None) -> None:
    """None where it is the usual table."""
    assert parse_configured("wg0.conf", f"[Interface]\n{line}\n").table == table
