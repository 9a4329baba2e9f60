"""Relays in front of the control plane that spoil what passes: `python -m preflight.lab.relays NAME …`.

The arguments are the name, its address, the control plane's, and perhaps a folder. With a folder, which holds
`tls.pem`, `tls.key` and `ca.pem`, the relay speaks TLS. `resets` breaks each connection at its second request, `cuts`
ends the list of nodes inside a chunk, `halves` gives a half of it, `compresses` compresses what nobody asked to be,
and `asks-certificate` demands a certificate of every client.
"""

import gzip
import os
import socket
import ssl
import struct
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from preflight.lab.fake_servers import web_server
from preflight.model.host_port import split_host_port

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"})
_BACKEND_S = 20.0
_FAREWELL_S = 2.0
_LIST = "/v1/populi/nodes"


class Relay(BaseHTTPRequestHandler):
    """Hands each request on, and its answer back."""

    protocol_version = "HTTP/1.1"
    backend = ("127.0.0.1", 0)

    def setup(self) -> None:
        """First the TLS handshake, if there is one: here and not at accept, where one client would stop all others."""
        if isinstance(self.request, ssl.SSLSocket):
            try:
                self.request.do_handshake()
            except ssl.SSLError:
                _farewell(self.request)
                raise
        super().setup()

    def do_GET(self) -> None:
        """Relay one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.relay(body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def relay(self, body: bytes) -> None:
        """Ask the control plane, and answer what it said."""
        response, content = self.asked(body)
        self.send_answer(response.status, dict(response.getheaders()), content)

    def asked(self, body: bytes) -> tuple[HTTPResponse, bytes]:
        """The control plane's complete answer."""
        connection = HTTPConnection(*self.backend, timeout=_BACKEND_S)
        try:
            kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            connection.request(self.command, self.path, body or None, kept)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def send_answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Answer with a length."""
        self.send_head(status, headers)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """The status and the control plane's own headers."""
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: stderr is the lab's log."""


class Resets(Relay):
    """Resets a connection at its second request, as a load balancer does that forgot it."""

    seen = 0

    def relay(self, body: bytes) -> None:
        """Relay the first one only."""
        self.seen += 1
        if self.seen == 1:
            super().relay(body)
            return
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closed at once and whole: http.server would send a FIN first, and a client might take it for an end.
        os.close(self.connection.detach())
        self.close_connection = True


class Cuts(Relay):
    """Ends the list of nodes inside a chunk."""

    def send_answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Send a chunk, announce another one, and send a half of that."""
        if self.path != _LIST or status != HTTPStatus.OK:
            super().send_answer(status, headers, content)
            return
        self.send_head(status, headers)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        first = len(content) // 3
        self.wfile.write(b"%x\r\n%b\r\n" % (first, content[:first]))
        self.wfile.write(b"%x\r\n%b" % (len(content) - first, content[first : 2 * first]))
        self.close_connection = True


class Halves(Relay):
    """Gives a half of the list of nodes, as a complete answer."""

    def send_answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """With the length of the half."""
        half = self.path == _LIST and status == HTTPStatus.OK
        super().send_answer(status, headers, content[: len(content) // 2] if half else content)


class Compresses(Relay):
    """Compresses every answer, whatever the client accepts."""

    def send_answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """With the header that says so."""
        super().send_answer(status, {**headers, "Content-Encoding": "gzip"}, gzip.compress(content))


def _farewell(connection: socket.socket) -> None:
    """Read what the client still sends: with unread bytes the kernel resets the connection, and the alert is lost."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(_FAREWELL_S)
    while connection.recv(4096):
        pass


RELAYS: Mapping[str, type[Relay]] = {
    "resets": Resets,
    "cuts": Cuts,
    "halves": Halves,
    "compresses": Compresses,
    "asks-certificate": Relay,
}


def relay_server(name: str, bind: str, backend: str, folder: Path | None = None) -> ThreadingHTTPServer:
    """A relay, bound and not yet serving. folder: with its certificate; None: it speaks plain HTTP."""
    host, port = split_host_port(bind)
    handler = type("Handler", (RELAYS[name],), {"backend": split_host_port(backend)})
    server = web_server(handler, host, port)
    if folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.pem", folder / "tls.key")
        if name == "asks-certificate":
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(folder / "ca.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def main(name: str, bind: str, backend: str, folder: str = "") -> None:
    """Serve until the process is terminated."""
    server = relay_server(name, bind, backend, Path(folder) if folder else None)
    print(f"listening on {server.server_address[0]!s}", flush=True)  # noqa: T201 - what the lab waits for
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
