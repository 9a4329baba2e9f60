"""The set-up of wg-quick(8): the parts of `/etc/wireguard/INTERFACE.conf` that can be compared with the live state.

Private and preshared keys never leave the parser.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Collection, Iterable
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

from preflight.model.overlay import ConfiguredPeer, ConfiguredTunnel, IPInterface, IPNetwork
from preflight.overlay.keys import derive_public_key

FOLDER = Path("/etc/wireguard")
_SECTION = re.compile(r"\[(\w+)\]")


def read_configured(interface: str) -> ConfiguredTunnel | None:
    """The file of an interface; None if it is missing, unreadable, or not a file of wg-quick."""
    path = FOLDER / f"{interface}.conf"
    try:
        return parse_configured(str(path), path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def stopped(links: Collection[str], peers: Iterable[str]) -> tuple[str, ...]:
    """The tunnels that have a file and no interface: those with a peer's address, or all where there is no peer."""
    try:
        names = sorted(path.stem for path in FOLDER.glob("*.conf"))
    except OSError:
        return ()
    files = {name: file for name in names if name not in links and (file := read_configured(name)) is not None}
    wanted = [ip_address(peer) for peer in peers]
    return tuple(
        name
        for name, file in files.items()
        if not wanted or any(each in network for peer in file.peers for network in peer.addresses for each in wanted)
    )


def parse_configured(path: str, text: str) -> ConfiguredTunnel:
    """Read a file. Keys are matched without regard to case, repeated ones add up, `#` begins a comment.

    Raises ValueError for an invalid configuration; its text quotes nothing from the file.
    """
    sections = _sections(text)
    own = dict(next((pairs for name, pairs in sections if name == "interface"), []))
    every = [pairs for name, pairs in sections if name == "interface"]
    if not every:
        raise ValueError("no [Interface] section")
    return ConfiguredTunnel(
        path=path,
        mtu=_number(own.get("mtu")),
        listen_port=_number(own.get("listenport")),
        addresses=tuple(_interfaces(value for pairs in every for key, value in pairs if key == "address")),
        public_key=_public_key(own.get("privatekey")),
        saves=own.get("saveconfig", "").lower() == "true",
        table=_table(own.get("table", "auto")),
        peers=tuple(_peer(pairs) for name, pairs in sections if name == "peer"),
    )


def _sections(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    for line in (line.partition("#")[0].strip() for line in text.splitlines()):
        if found := _SECTION.fullmatch(line):
            sections.append((found[1].lower(), []))
        elif "=" in line and sections:
            key, _, value = line.partition("=")
            sections[-1][1].append((key.strip().lower(), value.strip()))
        elif line:
            raise ValueError("a line that is neither a section nor a setting")
    return sections


def _peer(pairs: list[tuple[str, str]]) -> ConfiguredPeer:
    values = dict(pairs)
    keepalive = values.get("persistentkeepalive", "0")
    return ConfiguredPeer(
        key=values.get("publickey", ""),
        addresses=tuple(_networks(value for key, value in pairs if key == "allowedips")),
        keepalive_s=0 if keepalive == "off" else _number(keepalive) or 0,
        endpoint=values.get("endpoint"),
    )


def _interfaces(values: Iterable[str]) -> list[IPInterface]:
    return [ip_interface(part.strip()) for value in values for part in value.split(",") if part.strip()]


def _networks(values: Iterable[str]) -> list[IPNetwork]:
    return [ip_network(part.strip(), strict=False) for value in values for part in value.split(",") if part.strip()]


def _number(text: str | None) -> int | None:
    return int(text, 0) if text else None


def _table(text: str) -> str | None:
    return None if text.lower() in ("auto", "main", "254") else text.lower()


def _public_key(private: str | None) -> str | None:
    """The public key of a private key; None if it is missing or invalid."""
    try:
        return derive_public_key(b64decode(private, validate=True)) if private else None
    except (Base64Error, ValueError):
        return None
