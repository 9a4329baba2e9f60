"""Small servers in the place of the expected ones: `python -m preflight.lab.fake_servers WHAT ARGUMENT`.

`everything ADDRESS:PORT` answers 200 to everything, `redirect ADDRESS:PORT` redirects every request to a login page,
`resets ADDRESS:PORT` resets each connection at its first byte, `datagrams ADDRESS:PORT` sends back each datagram, and
`resolver ZONES` is a name server (UDP) with exactly the names in the JSON of ZONES.
"""

import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, TCPServer, ThreadingTCPServer, UDPServer

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from preflight.model.host_port import split_host_port

_TTL_S = 5
_DNS_PORT = 53


def answer(
    question: bytes, zone: Mapping[str, Sequence[str]], *, truncated: bool = False, rcode: str = "", drops: str = ""
) -> bytes | None:
    """The answer of a name server for `zone` (name to addresses); None if the datagram is not a query.

    A name `*.example` in the zone means every name below it. truncated: it says that the answer is too long for UDP.
    rcode: what it answers to every question instead. drops: the type of record about which it says nothing.
    """
    try:
        query = dns.message.from_wire(question)
        asked = query.question[0]
    except (dns.exception.DNSException, IndexError):
        return None
    if dns.rdatatype.to_text(asked.rdtype) == drops:
        return None
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA | dns.flags.RA
    if rcode:
        reply.set_rcode(dns.rcode.from_text(rcode))
        return reply.to_wire()
    addresses = _found(asked.name.to_text(omit_final_dot=True).lower(), zone)
    if truncated and addresses is not None:
        reply.flags |= dns.flags.TC
        return reply.to_wire()
    if addresses is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif asked.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
        fitting = [each for each in addresses if (":" in each) == (asked.rdtype == dns.rdatatype.AAAA)]
        if fitting:
            reply.answer.append(dns.rrset.from_text(asked.name, _TTL_S, "IN", asked.rdtype, *fitting))
    return reply.to_wire()


def _found(name: str, zone: Mapping[str, Sequence[str]]) -> Sequence[str] | None:
    """The addresses of a name, its own or those of the nearest wildcard above it."""
    parents = [name.split(".", count)[-1] for count in range(1, name.count(".") + 1)]
    return next((zone[each] for each in (name, *(f"*.{parent}" for parent in parents)) if each in zone), None)


def name_server(
    address: str,
    zone: Mapping[str, Sequence[str]],
    port: int = _DNS_PORT,
    *,
    truncated: bool = False,
    rcode: str = "",
    drops: str = "",
) -> UDPServer:
    """A name server over UDP, bound and not yet serving."""

    class Question(BaseRequestHandler):
        def handle(self) -> None:
            data, answering = self.request
            reply = answer(data, zone, truncated=truncated, rcode=rcode, drops=drops)
            if reply is not None:
                answering.sendto(reply, self.client_address)

    return UDPServer((address, port), Question)


class Everything(BaseHTTPRequestHandler):
    """A web server that accepts every request, but is not a control plane."""

    protocol_version = "HTTP/1.1"
    status = HTTPStatus.OK
    location: str | None = None

    def do_GET(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        page = b"<!doctype html><title>It works</title><p>It works."
        self.send_response(self.status)
        if self.location is not None:
            self.send_header("Location", self.location)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: stderr is the lab's log."""


class Redirect(Everything):
    """A web server that redirects every request to a login page."""

    status = HTTPStatus.MOVED_PERMANENTLY
    location = "http://login.example/"


def web_server(handler: type[BaseHTTPRequestHandler], host: str, port: int) -> ThreadingHTTPServer:
    """A web server, bound and not yet serving."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True

        def server_bind(self) -> None:
            """Without http.server's look-up of the local host name, which queries the name servers."""
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
            self.server_name, self.server_port = host, port

    return Server((host, port), handler)


class Reset(BaseRequestHandler):
    """Accepts a connection, and resets it when the first byte comes."""

    request: socket.socket

    def handle(self) -> None:
        """Close without a farewell: the kernel then sends RST."""
        self.request.recv(1)
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Closed at once and whole: socketserver would send a FIN first, and a client might take it for an end.
        os.close(self.request.detach())


def resetting_server(host: str, port: int) -> TCPServer:
    """A server that resets each connection, bound and not yet serving."""

    class Server(ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        allow_reuse_address = True
        daemon_threads = True

        def shutdown_request(self, request: object) -> None:
            """Nothing: the handler closed it."""

    return Server((host, port), Reset)


class Echo(BaseRequestHandler):
    """Sends a datagram back as it came: a service, and not a responder."""

    def handle(self) -> None:
        """Answer."""
        data, answering = self.request
        answering.sendto(data, self.client_address)


def datagram_server(host: str, port: int) -> UDPServer:
    """A service over UDP, bound and not yet serving."""

    class Server(UDPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    return Server((host, port), Echo)


_HANDLERS: Mapping[str, Callable[[str, int], TCPServer | UDPServer]] = {
    "everything": partial(web_server, Everything),
    "redirect": partial(web_server, Redirect),
    "resets": resetting_server,
    "datagrams": datagram_server,
}


def main(what: str, argument: str) -> None:
    """Serve until the process is terminated."""
    if what == "resolver":
        zones = json.loads(argument)
        servers: list[TCPServer | UDPServer] = [
            name_server(
                zone["address"],
                zone["answers"],
                zone["port"],
                truncated=zone["truncated"],
                rcode=zone.get("rcode", ""),
                drops=zone.get("drops", ""),
            )
            for zone in zones
        ]
    else:
        host, port = split_host_port(argument)
        servers = [_HANDLERS[what](host, port)]
    for server in servers:
        threading.Thread(target=server.serve_forever).start()
        print(f"listening on {server.server_address[0]!s}", flush=True)  # noqa: T201 - what the lab waits for


if __name__ == "__main__":
    main(*sys.argv[1:])
