"""Loads a reflector from another process: `python -m benchmarks.load ADDRESS PORT PACKETS CPU [KEY-FILE]`.

All packets are made before the clock starts. Enough of them are in flight to keep the reflector busy, but not enough
to overflow a buffer; every answer is checked. Prints one line of JSON.
"""

import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

from preflight.proto.stamp import wire as stamp

UNDER_WAY = 128
CHECKED_FULLY = 97
"""One answer in this many has its HMAC checked too; a prime, so that no rhythm hides from it."""
SSID = 7
_SEQUENCE = struct.Struct("!I")
SILENCE_S = 5.0


def main(address: str, port: int, count: int, cpu: int, key: bytes | None) -> dict[str, float]:
    """Send `count` packets and check what comes back."""
    os.sched_setaffinity(0, {cpu})
    now_ns = time.time_ns()
    packets = [stamp.build_request(number, now_ns, 1, SSID, key=key) for number in range(count)]
    sender_at = 24 if key is None else 48
    length = stamp.UNAUTHENTICATED_BYTES if key is None else stamp.AUTHENTICATED_BYTES
    answered = wrong = 0
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as link:
        link.settimeout(SILENCE_S)
        link.connect((address, port))
        began = time.perf_counter()
        for number, packet in enumerate(packets):
            link.send(packet)
            if number < UNDER_WAY - 1:
                continue
            for _ in range(UNDER_WAY if number == count - 1 else 1):
                try:
                    answer = link.recv(2048)
                except TimeoutError:
                    return {"seconds": time.perf_counter() - began, "answered": answered, "wrong": wrong}
                own, asked = _SEQUENCE.unpack_from(answer)[0], _SEQUENCE.unpack_from(answer, sender_at)[0]
                right = own == asked == answered and len(answer) == length
                if right and answered % CHECKED_FULLY == 0:
                    right = _is_whole(answer, key)
                wrong += not right
                answered += 1
        return {"seconds": time.perf_counter() - began, "answered": answered, "wrong": wrong}


def _is_whole(answer: bytes, key: bytes | None) -> bool:
    try:
        read = stamp.parse_answer(answer, key)
    except stamp.StampError:
        return False
    return read.ssid == SSID and read.sender_ns <= read.received_ns <= read.transmitted_ns


if __name__ == "__main__":
    words = sys.argv[1:]
    secret = Path(words[4]).read_bytes().strip() if len(words) > 4 else None
    print(json.dumps(main(words[0], int(words[1]), int(words[2]), int(words[3]), secret)))
