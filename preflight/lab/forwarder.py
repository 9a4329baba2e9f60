"""A bad link in user space, for kernels without netem: `python -m preflight.lab.forwarder DEVICE IMPAIRMENT`.

Packets that the kernel routes into the TUN device come out again, late, twice, in another order or never, and are
routed on, with the TTL that this hop cost restored.
"""

import fcntl
import json
import os
import random
import select
import struct
import sys
import time

from preflight.lab.impairment import ImpairedLink, Impairment, undiminished

_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_HEADER = 0x0001 | 0x1000  # IFF_TUN | IFF_NO_PI
_LARGEST = 65536


def open_tun(device: str) -> int:
    """Make a TUN device in the network namespace of this process; it exists as long as the descriptor."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", device.encode("ascii"), _TUN_WITHOUT_HEADER))
    return handle


def forward(handle: int, link: ImpairedLink) -> None:
    """Carry packets until the process is terminated."""
    while True:
        deadline = link.deadline()
        # select() counts in microseconds, poll() in milliseconds.
        select.select([handle], [], [], None if deadline is None else max(0.0, deadline - time.monotonic()))
        try:
            while True:
                link.accept(undiminished(os.read(handle, _LARGEST)), time.monotonic())
        except OSError:
            pass  # nothing more to read, or the device is down
        for packet in link.leave(time.monotonic()):
            try:
                os.write(handle, packet)
            except OSError:
                pass  # the kernel has no room: a link may lose packets


def main(device: str, impairment: str) -> None:
    """Serve until the process is terminated."""
    handle = open_tun(device)
    print(f"listening on tun:{device}", flush=True)  # noqa: T201 - what the lab waits for
    forward(handle, ImpairedLink(Impairment(**json.loads(impairment)), random.random))


if __name__ == "__main__":
    main(*sys.argv[1:])
