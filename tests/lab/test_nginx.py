"""nginx in a lab: what its configuration becomes, and that it serves it."""

import socket
from http.client import HTTPConnection
from pathlib import Path

from preflight.lab.blueprint import Front
from preflight.lab.nginx import Nginx, front_servers
from preflight.lab.processes import all_pids, end, mark_of
from preflight.lab.site import free_port

FOLDER = Path("/lab/control")


def servers(front: Front, *, secure: bool = False) -> str:
    """The servers of a front."""
    return front_servers(
        front, bind="10.66.0.3:9847", host="10.66.0.3", backend="127.0.0.1:19847", folder=FOLDER, secure=secure
    )


def test_a_front_without_wishes_hands_everything_on() -> None:
    """Protects the plain gateway: every path leads to the control plane behind it."""
    text = servers(Front())
    assert "listen 10.66.0.3:9847;" in text
    assert "location / { proxy_pass http://127.0.0.1:19847; }" in text
    assert "ssl" not in text


def test_a_secure_front_ends_tls() -> None:
    """Protects set-ups with TLS: the gateway shows the certificate that the control plane would show."""
    text = servers(Front(more="location = /x { return 404; }"), secure=True)
    assert "listen 10.66.0.3:9847 ssl;" in text
    assert "ssl_certificate /lab/control/tls.pem;" in text
    assert "location = /x { return 404; }" in text


def test_no_placeholder_is_left() -> None:
    """Protects nginx from words that it would take for directives."""
    whole = "server { listen <bind>; listen <host>:1; <certificate> location / { <hand-on> } root <folder>; }"
    assert "<" not in servers(Front(whole=whole))


def test_it_serves_and_keeps_its_mark(tmp_path: Path) -> None:
    """Protects the clean-up: nginx is found by the mark of its lab, in one process."""
    port, mark = free_port("127.0.0.1", socket.SOCK_STREAM), str(tmp_path / "front")
    Nginx("front", tmp_path, mark, list).start_now(f"server {{ listen 127.0.0.1:{port}; return 418; }}")
    try:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/")
        assert connection.getresponse().status == 418
        connection.close()
        assert sum(mark_of(pid) == mark for pid in all_pids()) == 1
    finally:
        end(lambda pid: mark_of(pid) == mark)
