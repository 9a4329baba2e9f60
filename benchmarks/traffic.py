"""Other traffic on a line: `python -m benchmarks.traffic OWN_ADDRESS PEER_ADDRESS PORT KBIT`, until it is ended.

Small packets at an even pace, as of a telephone call, so that they fill no queue by themselves; what comes in is read
and dropped.
"""

import socket
import sys
import time

PAYLOAD_BYTES = 172
"""A G.711 frame of 20 ms with its RTP header."""
HEADERS_BYTES = 28
LATE_S = 0.1
"""Who is later than this goes on from now: no burst makes up for it."""


def main(own: str, peer: str, port: int, kbit: float) -> None:
    """Send and drop until the process is ended."""
    interval_s = (PAYLOAD_BYTES + HEADERS_BYTES) * 8 / (kbit * 1000)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((own, port))
        due = time.monotonic()
        while True:
            link.settimeout(max(due - time.monotonic(), 1e-4))
            try:
                while time.monotonic() < due:
                    link.recv(2048)
            except OSError:
                pass  # nothing came before the next packet is due, or the other end is not there yet
            link.settimeout(None)
            link.sendto(bytes(PAYLOAD_BYTES), (peer, port))
            due = max(due + interval_s, time.monotonic() - LATE_S)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
