"""What the clients of one control URL share: where requests go, the connections, and the log of what was asked."""

from pathlib import Path

import httpx

from preflight.net.control.asked import RequestLog
from preflight.net.control.destination import Destination
from preflight.net.control.exchange import open_transport
from preflight.net.control.pace import Pace
from preflight.proto.control.http import Proxy
from preflight.proto.control.request_names import RequestNames
from preflight.proto.control.url import ControlUrl


class Line:
    """One way to the control plane; a client with another bearer finds its connections open."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.log = RequestLog()
        self.names = RequestNames()
        self.pace = Pace()
        self._transport: httpx.AsyncHTTPTransport | None = None

    def open(self, url: ControlUrl, proxy: Proxy | None, ca_file: Path | None) -> httpx.AsyncHTTPTransport:
        """The connections, which are made when they are needed. Raises ControlError for an unusable CA file."""
        self._transport = self._transport or open_transport(url, proxy, ca_file)
        return self._transport

    async def aclose(self) -> None:
        """Ask nothing more, and close the connections."""
        await self.log.end()
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None
