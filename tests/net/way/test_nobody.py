"""Who answers for an address that no host has: asked over the tunnels' way out, and past the tunnels."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2 import netns

from preflight.model.overlay import OverlayState
from preflight.model.tcp import Interception
from preflight.net.way.nobody import ask_nobody
from tests.net.way.network_namespace import namespaces
from tests.proto.way import seeing

LOGIN = b"HTTP/1.1 302 Found\r\nLocation: http://login.example/?key=1\r\nContent-Length: 0\r\n\r\n"
ROUTES = ("route add default via 10.5.0.2", "there: address add 192.0.2.1/32 dev lo")


def portal(there: str) -> socket.socket:
    """Something at 192.0.2.1 in the other namespace."""
    netns.pushns(there)
    try:
        return socket.create_server(("192.0.2.1", 80))
    finally:
        netns.popns()


async def _login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(LOGIN)
    writer.close()


def ask(there: str | None, overlay: OverlayState | None = None) -> Interception | None:
    """Ask, with a portal in the other namespace or without."""

    async def asked() -> Interception | None:
        if there is None:
            return await ask_nobody(overlay, ["10.66.0.2"], 0.3)
        async with await asyncio.start_server(_login, sock=portal(there)):
            return await ask_nobody(overlay, ["10.66.0.2"], 5.0)

    return asyncio.run(asked())


@pytest.mark.lab
def test_what_answers_for_nobody_is_named() -> None:
    """With its status, and where it redirects to without the key in it."""
    with namespaces(*ROUTES) as (_, there):
        assert ask(there) == Interception("192.0.2.1", "e0", 302, "http://login.example/")


@pytest.mark.lab
def test_a_tunnel_that_takes_everything_is_passed_by() -> None:
    """What is asked inside a tunnel never meets the portal: the device towards the endpoint counts."""
    (peer,) = seeing.state().peers
    tunnel = replace(seeing.state(), interface="t0", peers=(replace(peer, endpoint="10.5.0.2:51820"),), further=())
    lines = ("link add t0 type bridge", "link set t0 up", "route replace default dev t0", "route add 192.0.2.1 dev t0")
    with namespaces(*ROUTES[1:], *lines, "route add default via 10.5.0.2 metric 9") as (_, there):
        for which in ("all", "e0"):  # a strict filter drops answers whose route back is the tunnel
            Path(f"/proc/sys/net/ipv4/conf/{which}/rp_filter").write_text("2")
        assert ask(there, tunnel) == Interception("192.0.2.1", "e0", 302, "http://login.example/")
        blind = replace(tunnel, peers=())
        assert asyncio.run(ask_nobody(blind, ["10.66.0.2"], 0.3)) is None


@pytest.mark.lab
def test_nobody_answers() -> None:
    """Silence, a refusal and a missing route are all no answer."""
    with namespaces(*ROUTES):
        assert ask(None) is None
    with namespaces():
        assert ask(None) is None
