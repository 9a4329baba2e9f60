"""A connection that an HTTP proxy makes for us (CONNECT), to a host that has no name but an IPv6 address."""

import ssl
from base64 import b64encode
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

import httpcore
import httpx

from preflight.model.host_port import join_host_port
from preflight.proto.control.http import Proxy
from preflight.proto.control.url import SCHEME_PORTS

_SUCCESS: Final = 2


class ProxyTunnel(httpcore.AsyncNetworkBackend):
    """What opens the connections of a pool: each is a tunnel through the proxy.

    httpcore's own tunnel asks for `fd66::3:443` instead of `[fd66::3]:443` (RFC 9110 section 9.3.6, RFC 3986 section
    3.2.2), which a proxy refuses with 400 or reads as another address.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._url = httpx.URL(proxy.url)
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the proxy and let it connect to the host. Raises httpcore.ProxyError if it refuses."""
        own_port = self._url.port or SCHEME_PORTS[self._url.scheme]
        stream = await self._network.connect_tcp(self._url.host, own_port, timeout, local_address, socket_options)
        if self._url.scheme == "https":
            stream = await stream.start_tls(ssl.create_default_context(), self._url.host, timeout)
        origin = httpcore.Origin(self._url.raw_scheme, self._url.raw_host, own_port)
        connection = httpcore.AsyncHTTP11Connection(origin, stream)
        answer = await connection.handle_async_request(self._question(origin, join_host_port(host, port).encode()))
        if answer.status // 100 != _SUCCESS:
            await connection.aclose()
            reason = answer.extensions.get("reason_phrase", b"").decode("ascii", "ignore")
            raise httpcore.ProxyError(f"{answer.status} {reason}")
        tunnel: httpcore.AsyncNetworkStream = answer.extensions["network_stream"]
        return tunnel

    def _question(self, proxy: httpcore.Origin, target: bytes) -> httpcore.Request:
        headers = [(b"host", target), (b"accept", b"*/*"), (b"user-agent", b"preflight")]
        if password := proxy_authorization(self._url):
            headers.append((b"proxy-authorization", password.encode()))
        url = httpcore.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target=target)
        return httpcore.Request(b"CONNECT", url, headers=headers)


def proxy_authorization(proxy: httpx.URL) -> str | None:
    """The header's value with the user and password of a proxy's URL; None if it has none."""
    return f"Basic {b64encode(unquote_to_bytes(proxy.userinfo)).decode()}" if proxy.userinfo else None
