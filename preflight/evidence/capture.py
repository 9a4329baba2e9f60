"""Recorded packets as files for tcpdump and wireshark, one for each failing result."""

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from preflight.api import CONTROL
from preflight.files import create_all, new_folder
from preflight.net.recorder import Packet
from preflight.report.model import EvidenceEntry, Report, ResultEntry

LINKTYPE_RAW = 101
_FILE = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_NANOSECONDS = 0xA1B23C4D  # the magic of a file whose times are in nanoseconds
_SLACK = timedelta(milliseconds=50)


def captures(report: Report, packets: Iterable[Packet], control: Iterable[str] = ()) -> dict[str, tuple[str, bytes]]:
    """For each failing result with packets of its own: its id to a file's name and content.

    A packet belongs to a result if it went to or came from the result's peer, or from the `control` plane's addresses,
    while the check ran.
    """
    recorded = list(packets)
    addresses = {peer.target: frozenset((peer.address,)) for peer in report.run.peers} | {CONTROL: frozenset(control)}
    found: dict[str, tuple[str, bytes]] = {}
    for result in report.results:
        if result.status == "fail":
            theirs = addresses.get(result.target, frozenset())
            own = [packet for packet in recorded if packet.peer in theirs and _meanwhile(packet, result)]
            if own:
                found[result.id] = (f"{_file_name(result.id)}.pcap", pcap(own))
    return found


def with_captures(report: Report, paths: Mapping[str, str]) -> Report:
    """The report with the files as evidence of their results."""

    def add(result: ResultEntry) -> ResultEntry:
        if result.id not in paths:
            return result
        entry = EvidenceEntry(kind="capture", summary="headers of its packets", path=paths[result.id])
        return result.model_copy(update={"evidence": (*result.evidence, entry)})

    return report.model_copy(update={"results": tuple(map(add, report.results))})


def pcap(packets: Iterable[Packet]) -> bytes:
    """The classic capture file format, nanosecond times, raw IP, cut behind the headers."""
    out = [_FILE.pack(_NANOSECONDS, 2, 4, 0, 0, 0xFFFF, LINKTYPE_RAW)]
    for packet in packets:
        seconds, nanoseconds = divmod(packet.received_ns, 1_000_000_000)
        out += [_RECORD.pack(seconds, nanoseconds, len(packet.head), packet.length), packet.head]
    return b"".join(out)


def rewritten(content: bytes, stand_in: Callable[[str], str]) -> bytes:
    """A capture file of ours with every address replaced; checksums are zeroed, since they tell the addresses."""
    out = [content[: _FILE.size]]
    at = _FILE.size
    while at + _RECORD.size <= len(content):
        record = content[at : at + _RECORD.size]
        kept = _RECORD.unpack(record)[2]
        out += [record, _without_addresses(content[at + _RECORD.size : at + _RECORD.size + kept], stand_in)]
        at += _RECORD.size + kept
    return b"".join(out)


def _without_addresses(head: bytes, stand_in: Callable[[str], str]) -> bytes:
    packet = bytearray(head)
    if head[0] >> 4 == 4:
        size, places, protocol, begins = 4, (12, 16), head[9], (head[0] & 15) * 4
    else:
        size, places, protocol, begins = 16, (8, 24), head[6], 40
    for place in places:
        packet[place : place + size] = ip_address(stand_in(str(ip_address(head[place : place + size])))).packed
    if size == 4:
        packet[10:12] = bytes(2)
    checksum = {1: 2, 6: 16, 17: 6, 58: 2}.get(protocol)
    if checksum is not None and len(packet) >= begins + checksum + 2:
        packet[begins + checksum : begins + checksum + 2] = bytes(2)
    return bytes(packet)


def _meanwhile(packet: Packet, result: ResultEntry) -> bool:
    if result.started_at is None:
        return False
    begin = result.started_at - _SLACK
    end = result.started_at + timedelta(milliseconds=result.duration_ms) + _SLACK
    return begin.timestamp() * 1e9 <= packet.received_ns <= end.timestamp() * 1e9


def keep(
    report: Report, files: Mapping[str, tuple[str, bytes]], folder: Path, stand_in: Callable[[str], str] | None
) -> Report:
    """Write the files into a new folder of their own, and name them in the report.

    Raises WriteError: then none of them is left.
    """
    if not files:
        return report
    contents = [
        (folder / name, rewritten(content, stand_in) if stand_in else content) for name, content in files.values()
    ]
    with new_folder(folder):
        create_all(contents)
    return with_captures(report, {id: str(folder / name) for id, (name, _) in files.items()})


def _file_name(id: str) -> str:
    return re.sub(r"[^\w.-]+", "_", id).strip("_")
