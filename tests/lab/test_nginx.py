"""nginx in a lab: what its configuration becomes."""

from pathlib import Path

from preflight.lab.front import Act, Front, Route, Stand
from preflight.lab.nginx import servers

FOLDER = Path("/lab/control")


def text_of(front: Front, *, secure: bool = False) -> str:
    """The servers of a front."""
    return servers(front, Stand("10.66.0.3", 9847, "127.0.0.1:19847", FOLDER, secure))


def test_a_front_without_wishes_hands_everything_on() -> None:
    """Protects the plain gateway: every path leads to the control plane behind it."""
    text = text_of(Front())
    assert "listen 10.66.0.3:9847;" in text
    assert "location / { proxy_pass http://127.0.0.1:19847; }" in text
    assert "ssl" not in text


def test_a_secure_front_ends_tls() -> None:
    """Protects set-ups with TLS: the gateway shows the certificate that the control plane would show."""
    text = text_of(Front(routes=(Route("/x", Act(404), exact=True),)), secure=True)
    assert "listen 10.66.0.3:9847 ssl;" in text
    assert "ssl_certificate /lab/control/tls.pem;" in text
    assert "location = /x { return 404; }" in text
