"""What Nebula's own log says of its handshakes: the only thing that shows them where its sshd is off; pure."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from preflight.model.complaint import Complaint
from preflight.model.overlay import OverlayPeer
from preflight.overlay.json_types import table, text
from preflight.overlay.local import LocalError, parse_json

_FIELDS = re.compile(
    r"\b(time|msg|error|vpnIp|intendedVpnIp|haveVpnIp|udpAddr|udpAddrs|newAddr|relay|handshake|initiatorIndex"
    r"|fingerprint)"
    r'=(?:"((?:[^"\\]|\\.)*)"|(\S+))'
)
_LISTED = re.compile(r"[^\[\]\s,]+:\d+|\[[0-9a-fA-F:]+\]:\d+")
_VALIDATION = "certificate validation failed: "
STARTED = "Nebula interface is active"
LEAST_GARBLED, MOST_NAMED = 2, 4
_CIPHERS = ("aes", "chachapoly")
"""The first is what nebula takes where the configuration has none."""
_ANSWER = "stage:2"
_GARBLED = "the answer does not decrypt, as with another `cipher` there"


def peers_in(lines: Iterable[str]) -> tuple[OverlayPeer, ...]:
    """The members that it made or tried a session with, as of the last lines about each of them."""
    known: dict[str, OverlayPeer] = {}
    for line in lines:
        said = fields(line)
        if said.get("msg") == STARTED:
            known.clear()  # what an earlier process met is over
        with suppress(ValueError):
            address = str(ip_address(said.get("intendedVpnIp") or said.get("vpnIp", "")))
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


def own_cipher(config: Mapping[str, Any], logged: Iterable[OverlayPeer]) -> Complaint | None:
    """That this node has another cipher than its members: the answers of several do not decrypt, and those of none do.

    Of one member alone it is open which of the two must change. Nebula has two ciphers.
    """
    known = tuple(logged)
    garbled = [peer.key for peer in known if peer.refused == _GARBLED]
    own = text(config.get("cipher")) or _CIPHERS[0]
    if len(garbled) < LEAST_GARBLED or any(peer.endpoint for peer in known) or own not in _CIPHERS:
        return None
    other = next(each for each in _CIPHERS if each != own)
    return Complaint(
        "overlay.unhealthy",
        f"the answers of {' and '.join(garbled[:MOST_NAMED])} do not decrypt, and it has no session: `cipher` in its "
        f"configuration is {own}, and there it is {other}",
        cuts=True,
    )


def _unmet(address: str) -> OverlayPeer:
    return OverlayPeer(key=address, addresses=(ip_network(address),))


def _after(peer: OverlayPeer, said: Mapping[str, str]) -> OverlayPeer | None:
    """The member after one line about it; None where that changes nothing."""
    message, error = said.get("msg", ""), said.get("error", "")
    if message == "Handshake message received" and "relay" not in said and "udpAddr" in said:
        return replace(_unmet(peer.key), endpoint=said["udpAddr"], session=_number(said.get("initiatorIndex", "")))
    if message.startswith("Host roamed to new udp ip/port") and "newAddr" in said:
        return replace(_unmet(peer.key), endpoint=said["newAddr"], session=peer.session)
    if _ANSWER in said.get("handshake", "") and message == "Handshake message sent":
        return None  # the member's own call, which it has received before
    if message in ("Handshake message sent", "Handshake timed out") and "relay" not in said:
        tried = tuple(_LISTED.findall(said.get("udpAddrs", "")))
        # An address from which another member answered is in no list any more.
        tried = tried or (peer.tried if peer.refused else ())
        return replace(_unmet(peer.key), last_handshake_unix_s=0.0, tried=tried, refused=peer.refused)
    if message == "Invalid certificate from host":
        return _refused(peer, said, error.removeprefix(_VALIDATION))
    if message == "Failed to call noise.ReadMessage":
        return _refused(peer, said, _GARBLED)
    if message == "Incorrect host responded to handshake":
        return _refused(peer, said, f"{said.get('haveVpnIp') or 'another member'} answers there")
    return None


def _number(said: str) -> int | None:
    return int(said) if said.isascii() and said.isdigit() else None


def _refused(peer: OverlayPeer, said: Mapping[str, str], why: str) -> OverlayPeer:
    tried = peer.tried or ((said["udpAddr"],) if "udpAddr" in said else ())
    return replace(_unmet(peer.key), last_handshake_unix_s=0.0, tried=tried, refused=why)


def fields(line: str) -> Mapping[str, str]:
    """The parts of a line, in the format that is set: words or JSON."""
    if line.startswith("{"):
        try:
            return {key: _text(each) for key, each in table(parse_json(line, "nebula")).items()}
        except LocalError:
            return {}
    return {key: quoted or plain for key, quoted, plain in _FIELDS.findall(line)}


def _text(value: object) -> str:
    """An endpoint is an object with `ip` and `port` there, or its words; other objects are as in the words."""
    if isinstance(value, list):
        return f"[{' '.join(map(_text, value))}]"
    if isinstance(value, dict) and {"ip", "port"} <= value.keys():
        ip = str(value["ip"])
        return f"[{ip}]:{value['port']}" if ":" in ip else f"{ip}:{value['port']}"
    if isinstance(value, dict):
        return " ".join(f"{key}:{each}" for key, each in value.items())
    return str(value)
