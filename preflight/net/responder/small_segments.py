"""`python small_segments.py HOST PORT`: a ProxyCommand of ssh that connects with small segments and hands that over.

ssh to an overlay address would hang in just the outage that one looks for, where large packets vanish. It needs the
option ProxyUseFdpass: ssh then has the connection itself, and this program ends.
"""

import socket
import sys
from collections.abc import Sequence

SEGMENT_BYTES = 536
"""What every host takes (RFC 9293 section 3.7.1): both sides send no larger segments."""
CONNECT_S = 5.0


def main(words: Sequence[str]) -> int:
    """Connect to the first address that answers. Without one it says why, in the words of ssh."""
    host, port = words
    try:
        link = connect(host, int(port))
    except OSError as error:
        sys.stderr.write(f"connect to host {host} port {port}: {error.strerror or 'Connection timed out'}\n")
        return 1
    with link, socket.socket(fileno=sys.stdout.fileno()) as channel:
        socket.send_fds(channel, [b"\0"], [link.fileno()])
        channel.detach()
    return 0


def connect(host: str, port: int) -> socket.socket:
    """A connection with small segments. Raises the last address's OSError."""
    failure = OSError(0, "no address")
    for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        link = socket.socket(family, kind, protocol)
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
            link.settimeout(CONNECT_S)
            link.connect(place)
            link.settimeout(None)
        except OSError as error:
            link.close()
            failure = error
        else:
            return link
    raise failure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
