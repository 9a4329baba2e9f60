"""The kernel's routes of an overlay: asked only for addresses, and the tables only where one may hide another."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from preflight.model.kernel import NeedsPlatform, Route
from preflight.model.overlay import OverlayState
from preflight.net.kernel import Kernel
from preflight.net.overlay_routes import with_routes

TUN = OverlayState("generic", "tun0", up=True, mtu=1500)


class Answering:
    """A kernel that sends everything by one route, or cannot be asked."""

    def __init__(self, route: Route | None) -> None:
        self._route = route

    async def routes_to(self, addresses: Sequence[str]) -> Mapping[str, Route]:
        """The one route."""
        if self._route is None:
            raise NeedsPlatform("this question to the kernel needs Linux")
        return dict.fromkeys(addresses, self._route)


@pytest.mark.parametrize(
    ("addresses", "route", "known"),
    [
        (["10.66.0.2"], Route("10.66.0.2", "tun0"), ["10.66.0.2"]),
        (["fe80::1%eth0"], Route("10.66.0.2", "tun0"), []),
        (["10.66.0.2"], None, []),
    ],
    ids=["asked", "with-a-zone", "no-kernel-to-ask"],
)
def test_what_is_known_of_addresses(addresses: list[str], route: Route | None, known: list[str]) -> None:
    """Protects healthy runs: a route into the tunnel hides nothing, so no tables are read."""
    kernel = cast("Kernel", Answering(route))
    found = asyncio.run(with_routes(TUN, addresses, kernel.routes_to))
    assert found is not None
    assert list(found.routes) == known
    assert not found.hidden
