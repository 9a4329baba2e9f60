"""Who listens on a's uplink reads no bearer and no one-time token, even if every check that would warn is skipped."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from preflight.lab.axes.setup import Setup
from preflight.lab.draws import Draw
from preflight.lab.labs import Lab, fresh_lab
from preflight.lab.names import ROUTER
from preflight.lab.network import inside, router_link
from preflight.lab.scenario_file import scenario_of
from preflight.programs import python_module

pytestmark = [pytest.mark.lab, pytest.mark.timeout(180)]

_EVERY_PROTOCOL = 3
_SKIPPED = ("control.url", "control.dns", "control.connect", "control.tls")
_LARGEST = 65536
_PLAIN = b"GET /health"


class Sniffer:
    """What passes the router's end of a's uplink."""

    def __init__(self, tap: socket.socket) -> None:
        self._tap = tap
        self._stopped = threading.Event()
        self.seen = bytearray()
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        while not self._stopped.is_set():
            try:
                self.seen += self._tap.recv(_LARGEST)
            except TimeoutError:
                continue

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the body runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            self._thread.join()


def _secrets(lab: Lab) -> list[bytes]:
    files = lab.names.files("a")
    found = [files / name for name in ("token", "bootstrap-token")]
    return [path.read_bytes().strip() for path in found]


@pytest.mark.parametrize(
    ("fault", "setup"),
    [
        ("route-lan", {}),
        ("route-outside", {"control": "dns"}),
        ("route-leak", {}),
    ],
)
def test_no_secret_on_the_underlay(fault: str, setup: dict[str, str]) -> None:
    """Route before secret: the client itself asks the kernel, so a skipped check gives nothing away."""
    with fresh_lab(scenario_of(Draw(Setup.of(setup), (fault,)))) as lab:
        secrets = _secrets(lab)
        with inside(lab.names.namespace(ROUTER)):
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_PROTOCOL))
            tap.bind((router_link("a"), 0))
        tap.settimeout(0.2)
        skipped = [word for check in _SKIPPED for word in ("--skip", check)]
        words = python_module("preflight", "all", *lab.preflight_arguments(), *skipped)
        sniffer = Sniffer(tap)
        with tap, sniffer.listening():
            done = subprocess.run(
                lab.command(words), env=lab.environment(), capture_output=True, text=True, timeout=120, check=False
            )
        assert all(len(secret) > 16 for secret in secrets)
        leaked = [number for number, secret in enumerate(secrets) if secret in sniffer.seen]
        assert not leaked, done.stdout
        assert done.returncode in (1, 3), done.stderr
        # The sniffer sees what this run sends in clear: the question that carries no secret.
        assert (_PLAIN in sniffer.seen) or fault == "route-leak"
