"""An HTTP proxy is asked for the host of an https URL in brackets where that is an IPv6 address."""

import asyncio
import socket
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from preflight.lab.site import free_port
from preflight.model.control import ControlError
from preflight.net.control.client import ControlClient
from preflight.proto.control.url import parse_control_url
from tests.net.conftest import answer, healthy, server_context

if TYPE_CHECKING:
    from tests.net.conftest import OpenTrap


def through(proxy: str, url: str, ca_file: Path | None = None) -> ControlClient:
    return ControlClient(parse_control_url(url), ca_file=ca_file, timeout_s=5.0, environment={"HTTPS_PROXY": proxy})


async def refused(made: ControlClient) -> ControlError:
    try:
        with pytest.raises(ControlError) as caught:
            await made.health()
        return caught.value
    finally:
        await made.aclose()


@pytest.fixture
def tinyproxy(tmp_path: Path) -> Iterator[str]:
    """A real proxy, as the value of HTTPS_PROXY: it needs a password."""
    port = free_port("127.0.0.1", socket.SOCK_STREAM)
    config = tmp_path / "tinyproxy.conf"
    config.write_text(f"Port {port}\nListen 127.0.0.1\nMaxClients 8\nBasicAuth user hunter2-hunter2\nLogLevel Info\n")
    with subprocess.Popen(["tinyproxy", "-d", "-c", config], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any("Accepting connections" in line for line in process.stdout)
        yield f"http://user:hunter2-hunter2@127.0.0.1:{port}"
        process.terminate()


@pytest.mark.needs("tinyproxy")
def test_a_real_proxy_connects_to_an_ipv6_address(
    open_trap: "OpenTrap", authority: trustme.CA, tinyproxy: str, tmp_path: Path
) -> None:
    """The certificate is verified for the address inside the tunnel, and one tunnel serves all requests."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))

    async def talk() -> None:
        good, other = (server_context(authority.issue_cert(name)) for name in ("::1", "::2"))
        async with open_trap(healthy, tls=good, host="::1") as trap, open_trap(healthy, tls=other, host="::1") as wrong:
            made = through(tinyproxy, f"https://[::1]:{trap.port}", ca_file)
            assert [(await made.health()).status for _ in range(2)] == [200, 200]
            await made.aclose()
            assert trap.connections == 1
            assert trap.requests[0].headers["host"] == f"[::1]:{trap.port}"
            assert "proxy-authorization" not in trap.requests[0].headers
            assert (await refused(through(tinyproxy, f"https://[::1]:{wrong.port}", ca_file))).kind == "tls"
            stranger = tinyproxy.replace("user:hunter2-hunter2@", "")
            denied = await refused(through(stranger, f"https://[::1]:{trap.port}", ca_file))
            assert "the proxy does not connect (407 " in denied.message

    asyncio.run(talk())


@pytest.mark.parametrize("secure", [False, True])
def test_the_request_names_the_address_in_brackets(
    open_trap: "OpenTrap",
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    secure: bool,
    tmp_path: Path,
) -> None:
    """Without them a proxy answers 400; the report shows its status, also that of a proxy that speaks TLS."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context: ssl.SSLContext | None = server_context(authority.issue_cert("127.0.0.1")) if secure else None

    async def talk() -> None:
        async with open_trap(lambda _: answer("502 Bad Gateway"), tls=context) as proxy:
            url = f"http{'s' if secure else ''}://user:hunter2%40-hunter2@127.0.0.1:{proxy.port}"
            error = await refused(through(url, "https://[fd66::3]:9847"))
            (asked,) = proxy.requests
            assert asked.line == "CONNECT [fd66::3]:9847 HTTP/1.1"
            assert asked.headers["host"] == "[fd66::3]:9847"
            assert asked.headers["proxy-authorization"] == f"Basic {b64encode(b'user:hunter2@-hunter2').decode()}"
            assert error.message.endswith("the proxy does not connect (502 Bad Gateway)")
            assert error.decided is not None
            assert error.decided.http_status == 502

    asyncio.run(talk())


def test_a_name_is_asked_for_as_before(open_trap: "OpenTrap") -> None:
    """Only addresses in brackets need a separate tunnel."""

    async def talk() -> None:
        async with open_trap(lambda _: answer("403 Forbidden")) as proxy:
            await refused(through(proxy.url, "https://control.example:9847"))
            assert proxy.requests[0].line == "CONNECT control.example:9847 HTTP/1.1"

    asyncio.run(talk())
