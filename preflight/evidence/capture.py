"""Recorded packets as files for tcpdump and wireshark, one for each failing result."""

import re
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_address
from itertools import chain, count
from pathlib import Path

from preflight.api import CONTROL
from preflight.files import create_all, new_folder
from preflight.net.recorder import HEADERS, Packet
from preflight.report.model import EvidenceEntry, Report, ResultEntry
from preflight.report.redact import Redactor

LINKTYPE_RAW = 101
_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_NANOSECONDS = 0xA1B23C4D  # the magic of a file whose times are in nanoseconds
_HEAD = _FILE.pack(_NANOSECONDS, 2, 4, 0, 0, 0xFFFF, LINKTYPE_RAW)
_CHECKSUMS = {socket.IPPROTO_ICMP: 2, socket.IPPROTO_TCP: 16, socket.IPPROTO_UDP: 6, socket.IPPROTO_ICMPV6: 2}
"""Offset of the checksum after the IP header."""
_REDIRECT = 5
_SLACK = timedelta(milliseconds=50)


def captures(report: Report, packets: Iterable[Packet], control: Iterable[str] = ()) -> dict[str, bytes]:
    """For each failing result with packets: its id to the content of a file.

    A packet belongs to a result if it went to or came from the result's peer, or from the `control` plane's addresses,
    while the check ran.
    """
    recorded = list(packets)
    addresses = {peer.target: frozenset((peer.address,)) for peer in report.run.peers} | {CONTROL: frozenset(control)}
    found: dict[str, bytes] = {}
    for result in report.results:
        if result.status == "fail":
            theirs = addresses.get(result.target, frozenset())
            own = [packet for packet in recorded if packet.peer in theirs and _meanwhile(packet, result)]
            if own:
                found[result.id] = pcap(own)
    return found


def keep(report: Report, files: Mapping[str, bytes], parent: Path, redactor: Redactor) -> Report:
    """The report, redacted, with the files (by result id) in a new folder next to it.

    Raises WriteError; then no file is left.
    """
    clean = redactor.report(report)
    folder = parent / folder_of(report)
    paths = {id: folder / name for id, name in names_of(report, clean, files).items()}
    with new_folder(folder):
        create_all((paths[id], rewritten(content, redactor.pseudonym)) for id, content in files.items())
    kept = {new.id: paths[old.id] for old, new in _pairs(report, clean) if old.id in paths}

    def add(result: ResultEntry) -> ResultEntry:
        if result.id not in kept:
            return result
        path = redactor.text(str(kept[result.id]))
        entry = EvidenceEntry(kind="capture", summary="headers of its packets", path=path)
        return result.model_copy(update={"evidence": (*result.evidence, entry)})

    return clean.model_copy(update={"results": tuple(map(add, clean.results))})


def folder_of(report: Report) -> str:
    """The name of the folder in which a run keeps its captures, next to its report."""
    return f"preflight-captures-{report.run.id}"


def names_of(report: Report, clean: Report, files: Iterable[str]) -> dict[str, str]:
    """A unique file name for each result id, made from its name in the redacted report."""
    named: dict[str, str] = {}
    ids = {old.id: new.id for old, new in _pairs(report, clean)}
    for id in files:
        plain = re.sub(r"[^\w.-]+", "_", ids[id]).strip("_.")[:100]
        names = chain((f"{plain}.pcap",), (f"{plain}-{number}.pcap" for number in count(2)))
        named[id] = next(name for name in names if name not in named.values())
    return named


def _pairs(report: Report, clean: Report) -> Iterable[tuple[ResultEntry, ResultEntry]]:
    return zip(report.results, clean.results, strict=True)


def pcap(packets: Iterable[Packet]) -> bytes:
    """The classic capture file format, nanosecond times, raw IP, truncated after the headers."""
    out = [_HEAD]
    for packet in packets:
        seconds, nanoseconds = divmod(packet.received_ns, 1_000_000_000)
        out += [_RECORD.pack(seconds, nanoseconds, len(packet.head), packet.length), packet.head]
    return b"".join(out)


def rewritten(content: bytes, pseudonym: Callable[[str], str] | None) -> bytes:
    """One of our capture files, headers only, with every address replaced if requested.

    Checksums are cleared too, since they reveal the addresses. Raises ValueError for any other file.
    """
    if content[: _FILE.size] != _HEAD:
        raise ValueError("it is not a capture of preflight")
    out, at = [_HEAD], _FILE.size
    while at < len(content):
        try:
            seconds, nanoseconds, size, length = _RECORD.unpack_from(content, at)
            packet = _headers(content[at + _RECORD.size : at + _RECORD.size + size], pseudonym)
        except (struct.error, IndexError):
            raise ValueError("it is truncated, or contains an invalid packet") from None
        out += [_RECORD.pack(seconds, nanoseconds, len(packet), length), packet]
        at += _RECORD.size + size
    return b"".join(out)


def _headers(packet: bytes, pseudonym: Callable[[str], str] | None) -> bytes:
    if packet[0] >> 4 == 4:
        size, places, protocol, begins = 4, (12, 16), packet[9], (packet[0] & 15) * 4
    else:
        size, places, protocol, begins = 16, (8, 24), packet[6], 40
    head = bytearray(packet[: begins + HEADERS.get(protocol, 0)])
    if pseudonym is None:
        return bytes(head)
    if len(head) < places[1] + size:
        raise IndexError
    for place in places:
        head[place : place + size] = ip_address(pseudonym(str(ip_address(packet[place : place + size])))).packed
    if size == 4:
        head[10:12] = bytes(2)
    checksum = _CHECKSUMS.get(protocol)
    if checksum is not None and len(head) >= begins + checksum + 2:
        head[begins + checksum : begins + checksum + 2] = bytes(2)
    if protocol == socket.IPPROTO_ICMP and head[begins : begins + 1] == bytes((_REDIRECT,)):
        head[begins + 4 :] = bytes(len(head) - begins - 4)  # the router's address
    return bytes(head)


def _meanwhile(packet: Packet, result: ResultEntry) -> bool:
    if result.started_at is None:
        return False
    begin = result.started_at - _SLACK
    end = result.started_at + timedelta(milliseconds=result.duration_ms) + _SLACK
    return begin.timestamp() * 1e9 <= packet.received_ns <= end.timestamp() * 1e9
