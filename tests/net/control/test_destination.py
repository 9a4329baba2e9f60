"""Route before secret: what only the control plane may read leaves this node in clear only into the overlay."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_interface

import httpx
import pytest
from pydantic import SecretStr

from preflight.model.control import ControlError
from preflight.model.dns import Lookup
from preflight.model.kernel import NeedsPlatform, Route
from preflight.model.overlay import OverlayState
from preflight.net.control import client as client_module
from preflight.net.control.client import ControlClient
from preflight.net.control.destination import AGAIN_S, Destination, SecretWay
from preflight.proto.control.http import Proxy
from preflight.proto.control.url import ControlUrl, parse_control_url

IN, OUT, OWN = "10.66.0.3", "192.168.1.3", "192.168.1.9"
TOKEN = SecretStr("not-for-everyone")
OVERLAY = OverlayState(
    product="openvpn", interface="tun0", up=True, mtu=1400, addresses=(ip_interface("10.66.0.1/24"),)
)


async def routes_to(addresses: Iterable[str], port: int) -> dict[str, Route]:
    """The kernel's word: one prefix leads into the tunnel, and one address is this node's own."""
    return {
        address: Route(address, interface="tun0" if address.startswith("10.66.") else "eth0", local=address == OWN)
        for address in addresses
    }


async def up() -> OverlayState | None:
    return OVERLAY


async def down() -> OverlayState | None:
    return None


def resolving(*addresses: str) -> Destination:
    """A destination behind a name with these addresses."""

    async def look_up(name: str, timeout_s: float) -> Lookup:
        return Lookup("system", "answer", addresses, 1.0)

    return Destination(look_up, SecretWay(up, routes_to))


def confided(destination: Destination, url: str, proxy: str | None = None) -> str:
    """Where a secret would go: the pinned URL or the given one, or why it goes nowhere."""
    parsed = parse_control_url(url)
    assert isinstance(parsed, ControlUrl)
    through = Proxy.read("HTTP_PROXY", proxy) if proxy else None
    try:
        asyncio.run(destination.confide(parsed, through, 1.0))
    except ControlError as error:
        return f"{error.kind}: {error.message}"
    return str(destination.pinned or parsed)


@pytest.mark.parametrize(
    ("addresses", "url"),
    [
        ((), f"http://{IN}:9847"),
        ((), "http://127.0.0.1:9847"),
        ((), f"http://{OWN}:9847"),
        ((), f"https://{OUT}:9847"),
        ((IN, "10.66.0.9"), "http://control:9847"),
    ],
)
def test_a_safe_way_is_taken(addresses: tuple[str, ...], url: str) -> None:
    """Loopback, this node's own addresses, the overlay and TLS keep a secret."""
    assert confided(resolving(*addresses), url) == url


def test_of_a_name_only_a_safe_address_is_used() -> None:
    """A name may lead to the overlay and past it: the client takes the first. The only one is not looked up again."""
    assert confided(resolving(IN), "http://control:9847") == f"http://{IN}:9847"
    assert confided(resolving(OUT, IN), "http://control:9847") == f"http://{IN}:9847"


@pytest.mark.parametrize(
    ("addresses", "url", "proxy"),
    [
        ((), f"http://{OUT}:9847", None),
        ((OUT,), "http://control:9847", None),
        ((), f"http://{IN}:9847", f"http://{OUT}:3128"),
        ((OUT,), f"http://{IN}:9847", "http://proxy:3128"),
    ],
)
def test_an_open_way_gets_nothing(addresses: tuple[str, ...], url: str, proxy: str | None) -> None:
    """The sentence says what was not sent, and where the kernel would have sent it."""
    said = confided(resolving(*addresses), url, proxy)
    assert said.startswith("exposed: no bearer or token was sent in clear text")
    assert f"packets for {OUT} to eth0" in said


def test_a_safe_proxy_is_taken() -> None:
    """A bearer goes to the proxy first, and a proxy on the overlay keeps it."""
    assert confided(resolving(), f"http://{OUT}:9847", f"http://{IN}:3128") == f"http://{OUT}:9847"


def test_without_an_overlay_nothing_is_safe_but_this_node() -> None:
    """A tunnel that is not there cannot carry anything; one that comes up later is seen."""
    states, now, reads = [down, up], [100.0], []

    async def read() -> OverlayState | None:
        reads.append(now[0])
        return await states[0]()

    way = SecretWay(read, routes_to, now=lambda: now[0])
    refused = {IN: "no overlay is known here that leads there"}
    assert asyncio.run(way.astray([IN, OWN], 9847)) == refused
    states.pop(0)
    assert asyncio.run(way.astray([IN], 9847)) == refused
    assert reads == [100.0]
    now[0] += AGAIN_S + 1
    assert asyncio.run(way.astray([IN], 9847)) == {}


def test_a_tunnel_that_is_gone_is_not_trusted() -> None:
    """The kernel is asked each time: what was known before says nothing about now."""

    async def elsewhere(addresses: Iterable[str], port: int) -> dict[str, Route]:
        return {address: Route(address, interface="eth0") for address in addresses}

    way = SecretWay(up, elsewhere, known=replace(OVERLAY, routes={IN: Route(IN, interface="tun0")}))
    assert list(asyncio.run(way.astray([IN], 9847))) == [IN]


def test_where_the_kernel_cannot_be_asked_only_loopback_is_safe() -> None:
    """Protects other systems from trusting what a product announces."""

    async def unknown(addresses: Iterable[str], port: int) -> dict[str, Route]:
        raise NeedsPlatform("Linux")

    way = SecretWay(up, unknown)
    assert list(asyncio.run(way.astray([IN, "127.0.0.1"], 9847))) == [IN]


def test_the_client_sends_no_request_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects bearers and one-time tokens: with a secret in it, a request to an open way is not even begun."""
    asked: list[str] = []

    async def exchange(transport: httpx.AsyncHTTPTransport, asked_for: object, moments: object) -> None:
        asked.append(str(asked_for))
        raise httpx.ConnectError("nobody is there")

    monkeypatch.setattr(client_module, "exchange", exchange)
    client = ControlClient(ControlUrl("http", OUT, 9847), token=TOKEN, way=SecretWay(up, routes_to), environment={})
    for secret in (client.nodes(), client.exchange(TOKEN, "key"), client.leave("a")):
        with pytest.raises(ControlError, match="no bearer or token was sent") as caught:
            asyncio.run(secret)
        assert caught.value.kind == "exposed"
    assert asked == []
    with pytest.raises(ControlError, match="closed the connection"):
        asyncio.run(client.health())
    assert len(asked) == 1
