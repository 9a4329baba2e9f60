"""Routes are asked once, and again after whatever changes them."""

import asyncio
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import getpid

import pytest

from preflight.model.kernel import Route
from preflight.net.kernel import Kernel
from preflight.net.route_memory import RouteChanges, RouteMemory


class Told:
    """Changes that a test reports."""

    def __init__(self, *, known: bool = True) -> None:
        self.pending = True
        self.known = known
        self.closed = False

    def changed(self) -> bool:
        """Once for each change; always where nothing can be known."""
        found, self.pending = self.pending, not self.known
        return found

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


class Asked:
    """A kernel that counts its questions; `during` happens while it is asked."""

    def __init__(self) -> None:
        self.questions: list[tuple[str, ...]] = []
        self.interface = "wg0"
        self.gate: asyncio.Event | None = None

    async def routes_to(self, addresses: Iterable[str]) -> dict[str, Route]:
        """The same interface for all."""
        wanted, interface = tuple(addresses), self.interface
        self.questions.append(wanted)
        if self.gate is not None:
            await self.gate.wait()
        return {address: Route(address, interface=interface) for address in wanted}


def test_the_same_address_is_asked_once() -> None:
    """Hundreds of requests go to one place: each look-up costs three questions to the kernel."""

    async def run() -> list[tuple[str, ...]]:
        asked = Asked()
        memory = RouteMemory(asked.routes_to, Told())
        for addresses in (["10.66.0.3"], ["10.66.0.3"], ["10.66.0.3", "fd66::3"]):
            assert set(await memory.routes_to(addresses)) == set(addresses)
        return asked.questions

    assert asyncio.run(run()) == [("10.66.0.3",), ("fd66::3",)]


def test_after_a_change_the_kernel_is_asked_again() -> None:
    """A secret must not follow a route that was."""

    async def run() -> list[str | None]:
        asked, told = Asked(), Told()
        memory = RouteMemory(asked.routes_to, told)
        before = await memory.routes_to(["10.66.0.3"])
        asked.interface, told.pending = "eth0", True
        after = await memory.routes_to(["10.66.0.3"])
        return [before["10.66.0.3"].interface, after["10.66.0.3"].interface]

    assert asyncio.run(run()) == ["wg0", "eth0"]


def test_an_answer_from_before_a_change_is_not_kept() -> None:
    """The change may come while one question is under way and be noticed by another one."""

    async def run() -> str | None:
        asked, told = Asked(), Told()
        memory = RouteMemory(asked.routes_to, told)
        asked.gate = asyncio.Event()
        old = asyncio.create_task(memory.routes_to(["10.66.0.3"]))
        await asyncio.sleep(0)
        asked.interface, told.pending = "eth0", True
        other = asyncio.create_task(memory.routes_to(["10.66.0.4"]))
        await asyncio.sleep(0)
        asked.gate.set()
        await asyncio.gather(old, other)
        return (await memory.routes_to(["10.66.0.3"]))["10.66.0.3"].interface

    assert asyncio.run(run()) == "eth0"


def test_where_nothing_is_reported_nothing_is_remembered() -> None:
    """Without the kernel's reports every question is asked."""

    async def run() -> int:
        asked, told = Asked(), Told(known=False)
        memory = RouteMemory(asked.routes_to, told)
        for _ in range(3):
            await memory.routes_to(["10.66.0.3"])
        memory.close()
        assert told.closed
        return len(asked.questions)

    assert asyncio.run(run()) == 3


@contextmanager
def changes() -> Iterator[RouteChanges]:
    """Listening, with what came before heard."""
    found = RouteChanges()
    try:
        assert found.changed()
        yield found
    finally:
        found.close()


@pytest.mark.lab
@pytest.mark.parametrize(
    "change",
    [
        *("route add 10.9.0.0/24 dev e0", "route del 10.7.0.0/16", "-6 route add fd77::/64 dev e0"),
        *("rule add to 10.9.0.0/24 lookup 77", "-6 rule add to fd77::/64 lookup 77"),
        *("address add 10.6.0.1/24 dev e0", "-6 address add fd55::1/64 dev e0 nodad", "link set e0 down"),
        *("nexthop add id 7 dev e0", "link del e0"),
    ],
)
def test_the_kernel_reports_every_kind_of_change(change: str) -> None:
    """Nothing that decides a look-up changes unheard; and nothing is heard where nothing changes."""
    from pyroute2 import netns

    name = f"pfmem{getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        for command in (
            *(
                "link set lo up",
                "link add e0 type veth peer name e1",
                "link set e1 up",
                "address add 10.5.0.1/24 dev e0",
                "link set e0 up",
            ),
            *("route add 10.7.0.0/16 via 10.5.0.2", "route add 10.8.0.0/16 via 10.5.0.3"),
        ):
            subprocess.run(["ip", "-n", name, *command.split()], check=True)
        netns.pushns(name)
        try:
            with changes() as heard:
                asyncio.run(Kernel().routes_to(["10.7.0.1", "fd77::1"]))
                assert not heard.changed()
                subprocess.run(["ip", *change.split()], check=True)
                assert heard.changed()
        finally:
            netns.popns()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)
