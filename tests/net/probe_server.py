"""A responder of path-MTU probes alone, as a program: `python probe_server.py ADDRESS PORT [KEY-FILE]`.

Prints each socket's port when it is ready. Serves until it is ended.
"""

import os
import select
import sys
import time
from pathlib import Path

from preflight.net import udp
from preflight.net.pmtu.host import HostPath
from preflight.proto.pmtu.wire import ProbeServer


def main(address: str, port: str, key_file: str | None = None) -> None:
    """Answer what comes, for ever."""
    server = ProbeServer(Path(key_file).read_bytes() if key_file else None, os.urandom(16), HostPath())
    with udp.open_udp(address, int(port)) as socket:
        print(socket.getsockname()[1], flush=True)
        while select.select([socket], [], []):
            while (datagram := udp.receive(socket)) is not None:
                for answer in server.handle(datagram.data, datagram.source[:2], time.monotonic()):
                    udp.send(socket, answer, datagram.source)


if __name__ == "__main__":
    main(*sys.argv[1:])
