"""What Nebula's own log says of its handshakes: the only thing that shows them where its sshd is off; pure."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network

from preflight.model.overlay import OverlayPeer
from preflight.overlay.json_types import table
from preflight.overlay.local import LocalError, parse_json

_FIELDS = re.compile(r'\b(msg|error|vpnIp|haveVpnIp|udpAddr|udpAddrs|newAddr|relay)=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
_LISTED = re.compile(r"[^\[\]\s,]+:\d+|\[[0-9a-fA-F:]+\]:\d+")
_VALIDATION = "certificate validation failed: "
_GARBLED = "the answer does not decrypt, as with another `cipher` there"


def peers_in(lines: Iterable[str]) -> tuple[OverlayPeer, ...]:
    """The members that it made or tried a session with, as of the last lines about each of them."""
    known: dict[str, OverlayPeer] = {}
    for line in lines:
        said = _fields(line)
        with suppress(ValueError):
            address = str(ip_address(said.get("vpnIp", "")))
            if (peer := _after(known.get(address) or _unmet(address), said)) is not None:
                known[address] = peer
    return tuple(known.values())


def with_reasons(peers: Iterable[OverlayPeer], logged: Iterable[OverlayPeer]) -> tuple[OverlayPeer, ...]:
    """The host map's members, with the log's reason why there is no session; it forgets a refused one at once."""
    refused = {peer.key: peer for peer in logged if peer.refused}
    known = [
        replace(peer, refused=refused[peer.key].refused)
        if peer.key in refused and peer.last_handshake_unix_s == 0.0
        else peer
        for peer in peers
    ]
    met = {peer.key for peer in known}
    return (*known, *(peer for peer in refused.values() if peer.key not in met))


def _unmet(address: str) -> OverlayPeer:
    return OverlayPeer(key=address, addresses=(ip_network(address),))


def _after(peer: OverlayPeer, said: Mapping[str, str]) -> OverlayPeer | None:
    """The member after one line about it; None where that changes nothing."""
    message, error = said.get("msg", ""), said.get("error", "")
    if message == "Handshake message received" and "relay" not in said and "udpAddr" in said:
        return replace(_unmet(peer.key), endpoint=said["udpAddr"])
    if message.startswith("Host roamed to new udp ip/port") and "newAddr" in said:
        return replace(_unmet(peer.key), endpoint=said["newAddr"])
    if message in ("Handshake message sent", "Handshake timed out") and "relay" not in said:
        tried = tuple(_LISTED.findall(said.get("udpAddrs", "")))
        return replace(_unmet(peer.key), last_handshake_unix_s=0.0, tried=tried, refused=peer.refused)
    if message == "Invalid certificate from host":
        return _refused(peer, said, error.removeprefix(_VALIDATION))
    if message == "Failed to call noise.ReadMessage":
        return _refused(peer, said, _GARBLED)
    if message == "Incorrect host responded to handshake":
        return _refused(peer, said, f"{said.get('haveVpnIp') or 'another member'} answers there")
    return None


def _refused(peer: OverlayPeer, said: Mapping[str, str], why: str) -> OverlayPeer:
    tried = peer.tried or ((said["udpAddr"],) if "udpAddr" in said else ())
    return replace(_unmet(peer.key), last_handshake_unix_s=0.0, tried=tried, refused=why)


def _fields(line: str) -> Mapping[str, str]:
    """The parts of a line, in the format that is set: words or JSON."""
    if line.startswith("{"):
        try:
            return {key: _text(each) for key, each in table(parse_json(line, "nebula")).items()}
        except LocalError:
            return {}
    return {key: quoted or plain for key, quoted, plain in _FIELDS.findall(line)}


def _text(value: object) -> str:
    """An endpoint is an object with `ip` and `port` there, or its words."""
    if isinstance(value, list):
        return f"[{' '.join(map(_text, value))}]"
    if isinstance(value, dict) and {"ip", "port"} <= value.keys():
        return f"{value['ip']}:{value['port']}"
    return str(value)
