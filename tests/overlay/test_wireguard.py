"""WireGuard's three ways of reporting its state, and that no secret survives a parser."""

import re
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.generic.wireguard import wgmsg

from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, OverlayPeer
from preflight.overlay.keys import derive_public_key
from preflight.overlay.local import LocalError, understood
from preflight.overlay.wireguard import (
    Device,
    parse_dump,
    parse_dump_peer,
    parse_netlink,
    parse_uapi,
    state_with,
    state_without,
)

SAMPLE = (Path(__file__).parent / "samples/wireguard/peer-states.txt").read_text(encoding="utf-8")
LINK = Link(3, "wg0", 1420, up=True, carrier=True, kind="tun")

PRIVATE, PRESHARED = bytes(range(1, 33)), bytes(range(101, 133))
B, C = bytes(range(33, 65)), bytes(range(65, 97))

UAPI = f"""private_key={PRIVATE.hex()}
listen_port=51820
fwmark=51820
public_key={B.hex()}
preshared_key={PRESHARED.hex()}
protocol_version=1
endpoint=10.201.2.1:51820
last_handshake_time_sec=1795416301
last_handshake_time_nsec=500000000
tx_bytes=564
rx_bytes=476
persistent_keepalive_interval=5
allowed_ip=10.66.0.2/32
allowed_ip=fd66::2/128
public_key={C.hex()}
preshared_key={bytes(32).hex()}
protocol_version=1
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
allowed_ip=0.0.0.0/0
errno=0

"""


def text(key: bytes) -> str:
    """A key as `wg show` prints it."""
    return b64encode(key).decode()


def test_uapi_gives_both_peers_and_the_own_public_key() -> None:
    """The answer of a userspace daemon, as every healthy node gives it."""
    device = parse_uapi(UAPI)
    assert (device.listen_port, device.fwmark) == (51820, 51820)
    assert device.public_key == derive_public_key(PRIVATE)
    b, c = device.peers
    assert (b.key, b.endpoint, b.keepalive_s) == (text(B), "10.201.2.1:51820", 5)
    assert (b.last_handshake_unix_s, b.rx_bytes, b.tx_bytes) == (1795416301.5, 476, 564)
    assert [str(network) for network in b.addresses] == ["10.66.0.2/32", "fd66::2/128"]
    assert (c.endpoint, c.last_handshake_unix_s, c.keepalive_s) == (None, 0.0, 0)


def test_a_device_without_key_and_without_peers_is_a_device() -> None:
    """A daemon that was just started says little more than `errno=0`."""
    assert parse_uapi("listen_port=40000\nerrno=0\n\n") == Device(listen_port=40000)


@pytest.mark.parametrize("parsed", [parse_uapi(UAPI)], ids=["uapi"])
def test_no_secret_survives(parsed: Device) -> None:
    """Neither the private nor the preshared key, in hex or base64, may reach a report or a log."""
    shown = repr(parsed) + repr(state_with(LINK, parsed))
    for secret in (PRIVATE, PRESHARED):
        assert secret.hex() not in shown
        assert text(secret) not in shown


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "errno=0",
        UAPI.replace("errno=0", "errno=22"),
        UAPI.replace("errno=0\n", ""),
        UAPI.replace("allowed_ip=10.66.0.2/32", "allowed_ip=nonsense"),
        UAPI.replace(f"private_key={PRIVATE.hex()}", "private_key=abc"),
        UAPI.replace("tx_bytes=564", "tx_bytes"),
        "HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_uapi_is_garbage_or_empty_and_never_a_crash(answer: str) -> None:
    """Another program on the socket, another version, an error: data, and without the answer's text."""
    with suppress(LocalError), understood("wg0.sock"):
        assert parse_uapi(answer).peers == ()


@given(st.text(alphabet=st.sampled_from("abcdef0123456789=_\nprivatekeyublocs./:"), max_size=300))
def test_any_text_is_read_or_refused(answer: str) -> None:
    """No input of a daemon makes the reader raise anything but LocalError."""
    with suppress(LocalError), understood("wg0.sock"):
        parse_uapi(answer)


def recorded() -> list[tuple[str, str, list[str]]]:
    """(state, node, columns) of every peer line of the recorded sample."""
    lines, state = [], ""
    for line in SAMPLE.splitlines():
        if line.startswith("==="):
            state = line.removeprefix("=== ")
        elif match := re.match(r"([AB]): (.*?)(?:\s+\[now=\d+\])?$", line):
            lines.append((state, match[1], match[2].split("\t")))
    return lines


def test_the_sample_is_read_in_full() -> None:
    """Sixteen recorded states of both ends: none may be lost by the test's own reading."""
    assert len(recorded()) == 32


@pytest.mark.parametrize(("state", "node", "columns"), recorded())
def test_recorded_peer_lines(state: str, node: str, columns: list[str]) -> None:
    """Every line that `wg show dump` gave in a healthy or broken state is understood, column by column."""
    peer = parse_dump_peer([text(B), text(PRESHARED), *columns])
    endpoint, allowed, handshake, rx, tx, keepalive = columns
    assert peer.endpoint == (None if endpoint == "(none)" else endpoint)
    assert ",".join(map(str, peer.addresses)) == ("" if allowed == "(none)" else allowed)
    assert (peer.last_handshake_unix_s, peer.rx_bytes, peer.tx_bytes) == (int(handshake), int(rx), int(tx))
    assert peer.keepalive_s == (0 if keepalive == "off" else int(keepalive))
    assert text(PRESHARED) not in repr(peer)


def test_dump_of_all_interfaces() -> None:
    """Two interfaces in one output, the private keys dropped, a mark in hex."""
    lines = [
        ["wg0", text(PRIVATE), text(B), "51820", "0xca6c"],
        ["wg0", text(C), "(none)", "[2001:db8::1]:51820", "fd66::2/128,10.66.0.2/32", "0", "0", "148", "off"],
        ["wg1", "(none)", "(none)", "0", "off"],
    ]
    devices = parse_dump("\n".join("\t".join(line) for line in lines))
    assert devices["wg1"] == Device()
    assert (devices["wg0"].public_key, devices["wg0"].fwmark) == (text(B), 0xCA6C)
    (peer,) = devices["wg0"].peers
    assert (peer.endpoint_address, peer.endpoint_port) == ("2001:db8::1", 51820)
    assert text(PRIVATE) not in repr(devices)


def message(attributes: list[object], peer: list[object]) -> object:
    """A part of the kernel module's answer, encoded and read back."""
    encoded = wgmsg()
    encoded["attrs"] = [*attributes, ["WGDEVICE_A_PEERS", [{"attrs": peer}]]]
    encoded.encode()
    decoded = wgmsg(encoded.data)
    decoded.decode()
    return decoded


def allowed(family: int, address: bytes, bits: int) -> list[object]:
    """A peer's allowed-ips with one network."""
    network = [
        ["WGALLOWEDIP_A_FAMILY", family],
        ["WGALLOWEDIP_A_IPADDR", address],
        ["WGALLOWEDIP_A_CIDR_MASK", bits],
    ]
    return ["WGPEER_A_ALLOWEDIPS", [{"attrs": network}]]


def test_generic_netlink_messages() -> None:
    """The kernel module's answer in two parts: a peer with many allowed-ips goes on in the second."""
    own = [["WGDEVICE_A_PUBLIC_KEY", text(C)], ["WGDEVICE_A_LISTEN_PORT", 51820], ["WGDEVICE_A_FWMARK", 7]]
    key: list[object] = ["WGPEER_A_PUBLIC_KEY", text(B)]
    endpoint = ["WGPEER_A_ENDPOINT", {"addr": "10.201.2.1", "port": 51820}]
    handshake = ["WGPEER_A_LAST_HANDSHAKE_TIME", {"tv_sec": 1795416301, "tv_nsec": 500_000_000}]
    counters = [
        handshake,
        ["WGPEER_A_RX_BYTES", 476],
        ["WGPEER_A_TX_BYTES", 564],
        ["WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL", 25],
    ]
    secret = [["WGDEVICE_A_PRIVATE_KEY", text(PRIVATE)]]
    device = parse_netlink(
        [
            message([*secret, *own], [key, endpoint, *counters, allowed(2, bytes([10, 66, 0, 2]), 32)]),
            message([], [key, allowed(10, bytes.fromhex("fd66") + bytes(13) + b"\x02", 128)]),
        ]
    )
    assert (device.public_key, device.listen_port, device.fwmark) == (text(C), 51820, 7)
    (peer,) = device.peers
    assert (peer.key, peer.endpoint, peer.keepalive_s) == (text(B), "10.201.2.1:51820", 25)
    assert (peer.rx_bytes, peer.tx_bytes, peer.last_handshake_unix_s) == (476, 564, 1795416301.5)
    assert [str(network) for network in peer.addresses] == ["10.66.0.2/32", "fd66::2/128"]
    assert text(PRIVATE) not in repr(device)


def test_prefixes_leave_out_a_peer_that_takes_all_traffic() -> None:
    """A full tunnel does not make every address in the world an overlay address."""
    everything = OverlayPeer("x", addresses=parse_uapi(UAPI).peers[1].addresses)
    state = state_with(LINK, Device(peers=(everything, parse_uapi(UAPI).peers[0])))
    assert [str(network) for network in state.prefixes] == ["10.66.0.2/32", "fd66::2/128"]
    assert not state.covers("192.0.2.1")


@pytest.mark.parametrize(
    ("kind", "condition", "unreadable"),
    [
        ("timeout", "overlay.daemon-down", "it did not answer"),
        ("refused", "overlay.daemon-down", "it did not answer"),
        ("garbage", None, "it did not answer"),
        ("privilege", None, PRIVILEGE),
    ],
)
def test_what_an_unreadable_daemon_becomes(kind: str, condition: str | None, unreadable: str) -> None:
    """A daemon that does not serve is down; one that is not understood, or may not be asked, is only unread."""
    state = state_without(LINK, LocalError(kind, "it did not answer"))  # type: ignore[arg-type]  # the table's words
    assert (state.condition, state.unreadable) == (condition, unreadable)
