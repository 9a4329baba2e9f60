"""Questions to a real link: who answers, and that two answers are seen."""

import asyncio
from dataclasses import replace

import pytest

from preflight.model.kernel import Link
from preflight.model.routing import Asked
from preflight.net.way.ask_neighbour import NeighbourQuestions
from preflight.overlay.links import read_links
from tests.net.way.network_namespace import namespaces


def ask(address: str, *, every: bool = False) -> Asked | None:
    """Ask on e0."""

    async def asked() -> Asked | None:
        return await NeighbourQuestions().ask(link_called("e0", await read_links()), address, every=every)

    return asyncio.run(asked())


def link_called(name: str, links: tuple[Link, ...]) -> Link:
    return next(link for link in links if link.name == name)


@pytest.mark.lab
@pytest.mark.parametrize(("there", "nobody"), [("10.5.0.2", "10.5.0.77"), ("fd05::2", "fd05::77")])
def test_who_is_there_answers_and_nobody_does_not(there: str, nobody: str) -> None:
    """One answer proves that a neighbour is alive, whatever the kernel remembers."""
    with namespaces("there: link set e1 address 02:00:00:00:00:02"):
        alive, dead = ask(there), ask(nobody)
    assert alive is not None
    assert dead is not None
    assert (alive.hardware, dead.hardware) == (("02:00:00:00:00:02",), ())


@pytest.mark.lab
@pytest.mark.parametrize(("address", "length"), [("10.5.0.50", 24), ("fd05::50", 64)])
def test_two_that_have_one_address_are_both_seen(address: str, length: int) -> None:
    """Each answers: the kernel would keep only the last one."""
    other = (
        "there: link add br0 type bridge",
        "there: link set e1 nomaster",
        "there: link add m1 link e1 type macvlan mode bridge",
        "there: link set m1 address 02:00:00:00:00:03 up",
    )
    both = tuple(f"there: address add {address}/{length} dev {device} nodad" for device in ("e1", "m1"))
    with namespaces("there: link set e1 address 02:00:00:00:00:02", *other, *both):
        found = ask(address, every=True)
    assert found is not None
    assert set(found.hardware) == {"02:00:00:00:00:02", "02:00:00:00:00:03"}


@pytest.mark.lab
def test_another_host_with_this_node_s_address_answers() -> None:
    """Asked without a source, so that the question itself changes nobody's table."""
    with namespaces("there: address add 10.5.0.1/24 dev e1", "there: link set e1 address 02:00:00:00:00:02"):
        found = ask("10.5.0.1")
    assert found is not None
    assert found.hardware == ("02:00:00:00:00:02",)


@pytest.mark.lab
def test_a_device_without_neighbours_is_not_asked() -> None:
    """A tunnel's device has no hardware address, and a link that is down raises."""
    with namespaces():
        (loopback, *_), questions = asyncio.run(read_links()), NeighbourQuestions()
        assert asyncio.run(questions.ask(loopback, "127.0.0.9")) is None
        e0 = link_called("e0", asyncio.run(read_links()))
        assert asyncio.run(questions.ask(replace(e0, hardware="00:11"), "10.5.0.2")) is None
    with namespaces("link set e0 down"), pytest.raises(OSError, match="down"):
        asyncio.run(questions.ask(e0, "10.5.0.2"))
