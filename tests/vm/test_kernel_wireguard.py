"""What only the kernel's WireGuard does: its netlink, its errors at the socket, and its counters.

`bin/test --vm` also runs the tests of the overlay's checks on it, which are in tests/overlay.
"""

import asyncio
import errno
import os
import secrets
import socket
import subprocess
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from preflight_checks.overlay_session import overlay_session
from preflight_checks.reach_icmp import reach_icmp

from preflight.api import Peer
from preflight.model.facts import HandshakeFacts
from preflight.model.overlay import PRIVILEGE, OverlayState
from preflight.overlay import wireguard
from preflight.overlay.links import read_links
from preflight.overlay.wireguard import parse_dump
from tests.overlay.test_on_the_wire import on

if TYPE_CHECKING:
    from tests.overlay.conftest import Node, Pair

pytestmark = [pytest.mark.vm, pytest.mark.lab]

MANY_PEERS, MANY_ADDRESSES = 60, 600
"""Beyond 8 KiB each: more than one message of the kernel."""


def state(node: "Node") -> OverlayState:
    """The node's tunnel, as the adapter reads it."""

    async def read() -> list[OverlayState]:
        return await wireguard.read(await read_links())

    with node.inside():
        (found,) = asyncio.run(read())
    return found


def refusal(node: "Node", address: str) -> int | None:
    """How the kernel refuses a datagram to that address."""
    with node.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"x", (address, 9))
        except OSError as error:
            return error.errno
    return None


def dropped(node: "Node") -> int:
    """Packets that the tunnel's device counts as dropped on sending."""
    return int(node.run("cat", f"/sys/class/net/{node.interface}/statistics/tx_dropped"))


def test_these_tests_are_on_the_kernel_s_wireguard(tunnel: "Pair") -> None:
    """Without it the fixture would start wireguard-go, and every test here would prove something else."""
    assert "wireguard" in tunnel.a.run("ip", "-d", "link", "show", tunnel.a.interface)
    assert tunnel.a.daemon is None


def test_netlink_tells_what_wg_tells(tunnel: "Pair", tmp_path: Path) -> None:
    """Many peers, and one with addresses for several messages: nothing is lost between two of them."""
    keys = [b64encode(secrets.token_bytes(32)).decode() for _ in range(MANY_PEERS)]
    lines = [f"[Peer]\nPublicKey = {key}\nAllowedIPs = 10.98.{n // 256}.{n % 256}/32\n" for n, key in enumerate(keys)]
    networks = ", ".join(f"fd00::{number:x}/128" for number in range(MANY_ADDRESSES))
    lines.append(f"[Peer]\nPublicKey = {b64encode(secrets.token_bytes(32)).decode()}\nAllowedIPs = {networks}\n")
    more = tmp_path / "more.conf"
    more.write_text("\n".join(lines))
    tunnel.a.run("wg", "addconf", tunnel.a.interface, str(more))
    found, device = state(tunnel.a), parse_dump(tunnel.a.run("wg", "show", "all", "dump"))[tunnel.a.interface]
    assert found.unreadable is None
    assert (found.public_key, found.listen_port) == (device.public_key, device.listen_port)
    assert (len(found.peers), max(len(peer.addresses) for peer in found.peers)) == (MANY_PEERS + 2, MANY_ADDRESSES)
    read, shown = ({peer.key: peer for peer in peers} for peers in (found.peers, device.peers))
    assert read.keys() == shown.keys()
    assert [key for key in read if set(read[key].addresses) != set(shown[key].addresses)] == []
    assert [key for key in read if replace(read[key], addresses=()) != replace(shown[key], addresses=())] == []


def test_a_session_is_read_as_wg_shows_it(tunnel: "Pair") -> None:
    """Handshake, counters, endpoint and port, all from netlink."""
    assert {str(result.status) for result in on(tunnel.a, reach_icmp)} == {"pass"}
    found, device = state(tunnel.a), parse_dump(tunnel.a.run("wg", "show", "all", "dump"))[tunnel.a.interface]
    (peer,), (shown,) = found.peers, device.peers
    assert (peer.endpoint, peer.rx_bytes, peer.tx_bytes) == (shown.endpoint, shown.rx_bytes, shown.tx_bytes)
    assert peer.last_handshake_unix_s is not None
    assert int(peer.last_handshake_unix_s) == shown.last_handshake_unix_s != 0
    assert found.listen_port == 51820


def test_an_ordinary_user_may_not_read_it(tunnel: "Pair") -> None:
    """The kernel refuses, `wg` leaves the interface out: the reason is the privilege."""
    with tunnel.a.inside():
        links = asyncio.run(read_links())
        os.seteuid(65534)
        try:
            (found,) = asyncio.run(wireguard.read(links))
        finally:
            os.seteuid(0)
    assert found.unreadable == PRIVILEGE


def test_an_address_that_no_peer_owns_is_refused_at_once(tunnel: "Pair") -> None:
    """The kernel says so at the socket (wireguard-go swallows the packet), and the message passes that on."""
    assert refusal(tunnel.a, "10.99.0.77") == errno.ENOKEY
    (result,) = on(tunnel.a, reach_icmp, peers=(Peer("10.99.0.77", "x"),))
    assert "Required key not available" in result.message
    (session,) = on(tunnel.a, overlay_session, peers=(Peer("10.99.0.77", "x"),))
    assert str(session.code) == "overlay.allowed-ips"


def test_a_peer_without_an_endpoint_is_refused_at_once(tunnel: "Pair") -> None:
    """Another error, another reason."""
    key = tunnel.b.public_key
    tunnel.a.run("wg", "set", tunnel.a.interface, "peer", key, "remove")
    tunnel.a.run("wg", "set", tunnel.a.interface, "peer", key, "allowed-ips", "10.99.0.2/32")
    assert refusal(tunnel.a, "10.99.0.2") == errno.EDESTADDRREQ
    (session,) = on(tunnel.a, overlay_session)
    assert str(session.code) == "overlay.no-handshake"
    assert "has no endpoint" in session.message


def test_what_the_own_firewall_drops_counts_as_sent_and_as_dropped(tunnel: "Pair") -> None:
    """WireGuard's counter grows although nothing leaves; only the device's drops give it away.

    With wireguard-go the counter stays, as the socket refuses.
    """
    tunnel.a.filter("output", "udp dport 51820 drop")
    before = dropped(tunnel.a)
    (session,) = on(tunnel.a, overlay_session)
    assert str(session.code) == "overlay.no-handshake"
    assert isinstance(session.facts, HandshakeFacts)
    initiations = session.facts.sent_bytes // 148
    assert initiations >= 1
    # Another one may have left since the counter was read.
    assert dropped(tunnel.a) - before >= initiations


def test_the_kernel_s_socket_belongs_to_no_process(tunnel: "Pair") -> None:
    """The port is taken, as the table of sockets shows, and no process can be named for it."""
    taken = pytest.raises(OSError, match="in use")
    with tunnel.a.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rival, taken:
        rival.bind(("", 51820))
    table = tunnel.a.run("cat", "/proc/net/udp").splitlines()
    assert sum(line.split()[1].endswith(f":{51820:04X}") for line in table) == 1
    assert subprocess.run(["ip", "netns", "pids", tunnel.a.namespace], capture_output=True, check=True).stdout == b""
