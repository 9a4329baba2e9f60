"""`python -m preflight.lab.dial HOST PORT`: standard input and output over TCP, for OpenSSH's ProxyCommand.

A fleet's management network has no way out of its namespace; a manager of the nodes enters it with this program.
"""

import os
import selectors
import socket
import sys

_PIECE = 1 << 16


def relay(link: socket.socket, read_from: int, write_to: int) -> None:
    """Pass bytes both ways until the remote end closes; the end of the input is passed on too."""
    with selectors.DefaultSelector() as waiting:
        waiting.register(link, selectors.EVENT_READ)
        waiting.register(read_from, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is link:
                    data = link.recv(_PIECE)
                    if not data:
                        return
                    _write(write_to, data)
                elif data := os.read(read_from, _PIECE):
                    link.sendall(data)
                else:
                    waiting.unregister(read_from)
                    link.shutdown(socket.SHUT_WR)


def _write(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]


def main() -> int:
    """Connect and relay; 1 with one sentence if the host cannot be reached."""
    host, port = sys.argv[1], int(sys.argv[2])
    try:
        with socket.create_connection((host, port), timeout=10) as link:
            link.settimeout(None)
            relay(link, 0, 1)
    except OSError as error:
        sys.stderr.write(f"{host} port {port}: {error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
