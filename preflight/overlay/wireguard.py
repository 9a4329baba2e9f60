"""WireGuard: userspace daemons by their UAPI socket, the kernel module by generic netlink, else `wg show … dump`.

Private and preshared keys never leave the parsers: the node's public key is derived at once, then the private key is
dropped.
"""

import asyncio
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from preflight.model.event import Tell, silent
from preflight.model.host_port import join_host_port
from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, IPNetwork, OverlayPeer, OverlayState
from preflight.overlay.keys import derive_public_key
from preflight.overlay.links import outermost, state_of
from preflight.overlay.local import LocalError, ask_unix, exists, reported, run, understood
from preflight.overlay.wgquick import read_configured

SOCKETS = Path("/var/run/wireguard")
OVERHEAD_BYTES = 20 + 8 + 32  # IPv4, UDP, and WireGuard's data header with its tag


@dataclass(frozen=True, slots=True)
class Device:
    """The state of one WireGuard interface, without secrets."""

    public_key: str | None = None
    listen_port: int | None = None
    fwmark: int = 0
    peers: tuple[OverlayPeer, ...] = ()


async def read(links: Iterable[Link], tell: Tell = silent) -> list[OverlayState]:
    """The state of every WireGuard interface of this namespace."""
    # The sockets are visible in every namespace; only those of interfaces that exist here are ours.
    ours = [link for link in links if link.kind == "wireguard" or exists(_socket(link))]
    return list(await asyncio.gather(*(_read_one(link, tell) for link in ours)))


async def _read_one(link: Link, tell: Tell) -> OverlayState:
    try:
        device = await (_ask_kernel(link, tell) if link.kind == "wireguard" else _ask_daemon(link, tell))
    except LocalError as error:
        return state_without(link, error)
    return replace(state_with(link, device), configured=read_configured(link.name))


def state_with(link: Link, device: Device) -> OverlayState:
    """The common state of an interface with a readable device."""
    state = state_of(link, "wireguard")
    # A peer that takes all traffic does not make the whole Internet part of the overlay.
    routed = [network for peer in device.peers for network in peer.addresses if network.prefixlen > 1]
    return replace(
        state,
        prefixes=outermost((*state.prefixes, *routed)),
        peers=device.peers,
        listen_port=device.listen_port,
        overhead_bytes=OVERHEAD_BYTES,
        public_key=device.public_key,
        fwmark=device.fwmark,
    )


def state_without(link: Link, error: LocalError) -> OverlayState:
    """The common state of an interface with an unreadable device: the kernel's part, and the reason."""
    if error.kind == "privilege":
        return state_of(link, "wireguard", unreadable=PRIVILEGE, overhead_bytes=OVERHEAD_BYTES)
    dead = {"condition": "overlay.daemon-down"} if error.kind in ("timeout", "refused") else {}
    return state_of(link, "wireguard", unreadable=str(error), health=(str(error),), **dead)


def parse_uapi(text: str) -> Device:
    """The answer to `get=1` (wireguard.com/xplatform): `key=value` lines, each `public_key` begins a peer.

    Raises ValueError or KeyError if it is malformed.
    """
    own: dict[str, str] = {}
    peers: list[dict[str, str]] = []
    allowed: list[list[IPNetwork]] = []
    for line in text.split("\n\n", 1)[0].splitlines():
        key, separator, value = line.partition("=")
        if not separator:
            raise ValueError("a line without a value")
        if key == "public_key":
            peers.append({})
            allowed.append([])
        if key == "allowed_ip":
            allowed[-1].append(ip_network(value, strict=False))
        elif key == "preshared_key":
            (peers[-1] if peers else own)["preshared"] = "yes" if value.strip("0") else ""  # never the key itself
        else:
            (peers[-1] if peers else own)[key] = value
    status = (peers[-1] if peers else own).pop("errno")
    if status != "0":
        raise ValueError("the daemon refused the request")
    secret = own.pop("private_key", None)
    return Device(
        public_key=derive_public_key(bytes.fromhex(secret)) if secret else None,
        listen_port=int(own.get("listen_port", 0)) or None,
        fwmark=int(own.get("fwmark", 0)),
        peers=tuple(_uapi_peer(peer, networks) for peer, networks in zip(peers, allowed, strict=True)),
    )


def parse_dump(text: str) -> dict[str, Device]:
    """The output of `wg show all dump`: tab-separated, one line per interface, then one per peer.

    Raises ValueError or KeyError if it is malformed.
    """
    devices: dict[str, Device] = {}
    for line in text.splitlines():
        interface, *fields = line.split("\t")
        if len(fields) == 4:
            _private, public_key, port, mark = fields
            devices[interface] = Device(
                public_key=None if public_key == "(none)" else public_key,
                listen_port=int(port) or None,
                fwmark=0 if mark == "off" else int(mark, 0),
            )
        else:
            device = devices[interface]
            devices[interface] = replace(device, peers=(*device.peers, parse_dump_peer(fields)))
    return devices


def parse_dump_peer(fields: list[str]) -> OverlayPeer:
    """A peer's columns, starting with its public key."""
    key, preshared, endpoint, allowed, handshake, rx, tx, keepalive = fields
    return OverlayPeer(
        key=key,
        endpoint=None if endpoint == "(none)" else endpoint,
        addresses=() if allowed == "(none)" else tuple(ip_network(n, strict=False) for n in allowed.split(",")),
        last_handshake_unix_s=float(handshake),
        rx_bytes=int(rx),
        tx_bytes=int(tx),
        keepalive_s=0 if keepalive == "off" else int(keepalive),
        preshared=preshared != "(none)",
    )


def parse_netlink(messages: Iterable[Any]) -> Device:
    """WG_CMD_GET_DEVICE messages of pyroute2; a peer with many allowed-ips goes on in the next message."""
    device = Device()
    peers: dict[str, OverlayPeer] = {}
    for message in messages:
        public_key = message.get_attr("WGDEVICE_A_PUBLIC_KEY")
        device = replace(
            device,
            public_key=_text(public_key) if public_key else device.public_key,
            listen_port=message.get_attr("WGDEVICE_A_LISTEN_PORT") or device.listen_port,
            fwmark=message.get_attr("WGDEVICE_A_FWMARK") or device.fwmark,
        )
        for part in message.get_attr("WGDEVICE_A_PEERS") or ():
            peer = _netlink_peer(part)
            known = peers.get(peer.key)
            peers[peer.key] = replace(known, addresses=known.addresses + peer.addresses) if known else peer
    return replace(device, peers=tuple(peers.values()))


def _socket(link: Link) -> Path:
    return SOCKETS / f"{link.name}.sock"


async def _ask_daemon(link: Link, tell: Tell) -> Device:
    path = _socket(link)
    answer = await ask_unix(path, b"get=1\n\n", until=b"\n\n", tell=tell)
    with understood(str(path)):
        return parse_uapi(answer.decode("ascii"))


async def _ask_kernel(link: Link, tell: Tell) -> Device:
    place = f"the kernel's WireGuard ({link.name})"
    try:
        messages = await reported(tell, place, _netlink(link))
    except LocalError:
        return await _ask_tool(link, tell)
    with understood(place):
        return parse_netlink(messages)


async def _netlink(link: Link) -> list[Any]:
    """What the kernel module says of an interface. Raises LocalError if it says nothing."""
    from preflight.netlink import AsyncWireGuard, NetlinkError

    try:
        async with AsyncWireGuard() as netlink:
            await netlink.setup_endpoint()  # finds the family's number; entering the context does not
            return [message async for message in await netlink.info(link.name)]
    except (NetlinkError, OSError):
        raise LocalError("refused", f"the kernel says nothing of {link.name}") from None


async def _ask_tool(link: Link, tell: Tell) -> Device:
    """`wg` if netlink gives nothing. It leaves out what it may not read, and exits with 0 anyway."""
    try:
        status, output = await run("wg", "show", "all", "dump", tell=tell)
    except LocalError as error:
        if error.kind == "absent":
            raise LocalError("privilege", f"{link.name} may not be read by this user") from None
        raise
    devices: dict[str, Device] = {}
    if status == 0:
        with understood("`wg show all dump`"):
            devices = parse_dump(output)
    if link.name not in devices:
        raise LocalError("privilege", f"`wg` may not read {link.name}")
    return devices[link.name]


def _uapi_peer(fields: Mapping[str, str], networks: list[IPNetwork]) -> OverlayPeer:
    seconds = int(fields.get("last_handshake_time_sec", 0)) + int(fields.get("last_handshake_time_nsec", 0)) / 1e9
    return OverlayPeer(
        key=b64encode(bytes.fromhex(fields["public_key"])).decode(),
        endpoint=fields.get("endpoint"),
        addresses=tuple(networks),
        last_handshake_unix_s=seconds,
        rx_bytes=int(fields.get("rx_bytes", 0)),
        tx_bytes=int(fields.get("tx_bytes", 0)),
        keepalive_s=int(fields.get("persistent_keepalive_interval", 0)),
        preshared=bool(fields.get("preshared")),
    )


def _netlink_peer(part: Any) -> OverlayPeer:
    endpoint = part.get_attr("WGPEER_A_ENDPOINT")
    handshake = part.get_attr("WGPEER_A_LAST_HANDSHAKE_TIME")
    return OverlayPeer(
        key=_text(part.get_attr("WGPEER_A_PUBLIC_KEY")),
        endpoint=join_host_port(endpoint["addr"], endpoint["port"]) if endpoint else None,
        addresses=tuple(ip_network(n["addr"], strict=False) for n in part.get_attr("WGPEER_A_ALLOWEDIPS") or ()),
        last_handshake_unix_s=handshake["tv_sec"] + handshake["tv_nsec"] / 1e9 if handshake else 0.0,
        rx_bytes=part.get_attr("WGPEER_A_RX_BYTES") or 0,
        tx_bytes=part.get_attr("WGPEER_A_TX_BYTES") or 0,
        keepalive_s=part.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0,
        preshared=_is_set(part.get_attr("WGPEER_A_PRESHARED_KEY")),
    )


def _is_set(key: bytes | str | None) -> bool:
    """Whether there is a key: WireGuard writes an absent one as zeros, which base64 writes as `A`."""
    return bool(_text(key or "").strip("A=\0"))


def _text(key: bytes | str) -> str:
    return key.decode() if isinstance(key, bytes) else key
