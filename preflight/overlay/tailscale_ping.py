"""Tailscale's own pings, by the daemon's LocalAPI; no policy of the tailnet filters them.

`disco` finds out whether there is a path; `TSMP` goes through the WireGuard session on top of it.
"""

import asyncio
from functools import partial
from ipaddress import ip_address

from preflight.model.event import Tell, silent
from preflight.model.product_ping import ProductPing
from preflight.overlay.json_types import endpoint_in, number, table, text
from preflight.overlay.local import LocalError, ask_http, understood
from preflight.overlay.tailscale import HOST, SOCKET

KINDS = ("disco", "TSMP")


async def pings(address: str, tell: Tell = silent) -> tuple[ProductPing, ...]:
    """Both at once, each answered or not; a kind about which the daemon says nothing is left out."""
    plain = str(ip_address(address))
    found = await asyncio.gather(*(_ping(plain, kind, tell) for kind in KINDS))
    return tuple(each for each in found if each is not None)


async def _ping(address: str, kind: str, tell: Tell) -> ProductPing | None:
    path = f"/localapi/v0/ping?ip={address}&type={kind}"
    connect = partial(asyncio.open_unix_connection, str(SOCKET))
    try:
        answer = await ask_http(connect, str(SOCKET), HOST, path, tell=tell, method="POST")
        with understood("tailscaled"):
            said = table(answer)
            if text(said.get("Err")):
                return ProductPing(kind)
            latency_s = number(said["LatencySeconds"])
            direct = text(said.get("Endpoint"))
            return ProductPing(kind, latency_s, endpoint_in(direct) if direct else None)
    except LocalError as error:
        # The daemon waits for the peer's answer; other errors say nothing about the peer.
        return ProductPing(kind) if error.kind == "timeout" else None
