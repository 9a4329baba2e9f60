"""The small servers that replace something else, and the certificates of the lab."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import BaseServer

import dns.flags
import dns.message
import dns.rcode
import pytest

from preflight.lab.blueprint import Certificate
from preflight.lab.certificates import write_certificates
from preflight.lab.fake_servers import Everything, Redirect, answer, name_server, resetting_server, web_server

ZONE = {"control.test": ("10.66.0.3", "fd66::3"), "four.test": ("10.66.0.3",), "*.wild.test": ("10.0.0.9",)}


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("name", "kind", "code", "addresses"),
    [
        ("control.test", "A", dns.rcode.NOERROR, ["10.66.0.3"]),
        ("Control.Test", "AAAA", dns.rcode.NOERROR, ["fd66::3"]),
        ("four.test", "AAAA", dns.rcode.NOERROR, []),
        ("four.test", "TXT", dns.rcode.NOERROR, []),
        ("other.test", "A", dns.rcode.NXDOMAIN, []),
        ("a.b.wild.test", "A", dns.rcode.NOERROR, ["10.0.0.9"]),
        ("wild.test", "A", dns.rcode.NXDOMAIN, []),
    ],
)
def test_name_server_answers(name: str, kind: str, code: dns.rcode.Rcode, addresses: list[str]) -> None:
    """Protects the name scenarios: no such name and no such record are different answers."""
    reply = answer(dns.message.make_query(name, kind).to_wire(), ZONE)
    assert reply is not None
    message = dns.message.from_wire(reply)
    assert message.rcode() == code
    assert [item.to_text() for rrset in message.answer for item in rrset] == addresses


def test_name_server_says_that_its_answer_is_too_long() -> None:
    """Protects the resolver whose answer needs TCP: the flag, and no address."""
    reply = answer(dns.message.make_query("control.test", "A").to_wire(), ZONE, truncated=True)
    assert reply is not None
    message = dns.message.from_wire(reply)
    assert message.flags & dns.flags.TC
    assert not message.answer


def test_name_server_ignores_what_is_no_question() -> None:
    """Protects the fake server from stray packets."""
    assert answer(b"\x00", ZONE) is None


def test_name_server_over_udp() -> None:
    """Protects the shell around the answers: a real question on a real socket."""
    server = name_server("127.0.0.1", ZONE, port=0)
    with serving(server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(dns.message.make_query("four.test", "A").to_wire(), server.server_address)
        assert dns.message.from_wire(client.recv(2000)).answer


@pytest.mark.parametrize(
    ("handler", "status", "location"), [(Everything, 200, None), (Redirect, 301, "http://login.example/")]
)
def test_web_server(handler: type[BaseHTTPRequestHandler], status: int, location: str | None) -> None:
    """Protects not-populi and redirect: the same answer to every request, bodies included."""
    server = web_server(handler, "127.0.0.1", 0)
    with serving(server):
        client = HTTPConnection("127.0.0.1", server.socket.getsockname()[1], timeout=5)
        for method, body in (("GET", None), ("POST", b"{}"), ("GET", None)):
            client.request(method, "/v1/populi/nodes", body)
            response = client.getresponse()
            response.read()
            assert (response.status, response.headers["Location"]) == (status, location)
        client.close()


def test_a_server_that_resets() -> None:
    """Protects `resets`: the connection is accepted, and then ended by RST."""
    server = resetting_server("127.0.0.1", 0)
    port = server.socket.getsockname()[1]
    with serving(server):
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(b"GET")
                with pytest.raises(ConnectionResetError):
                    client.recv(1)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("good", None),
        ("expired", "certificate has expired"),
        ("not-yet", "certificate is not yet valid"),
        ("untrusted", "certificate verify failed"),
        ("no-intermediate", "unable to get local issuer certificate"),
        ("other-name", "IP address mismatch"),
    ],
)
def test_certificates(tmp_path: Path, kind: Certificate, complaint: str | None) -> None:
    """Protects the TLS scenarios: each certificate is bad in its one way, as OpenSSL sees it."""
    write_certificates(kind, tmp_path, [tmp_path], "127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.pem", tmp_path / "tls.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    if complaint is None:
        assert _handshake(server, client) is None
    else:
        assert complaint in str(_handshake(server, client))


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLError | None:
    """In memory: the two sides hand one another what they want to send."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return error
    return None
