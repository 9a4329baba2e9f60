"""The neighbour tables, read from the kernel."""

import asyncio

import pytest

from preflight.overlay.links import read_links, read_neighbours
from tests.overlay.conftest import Pair


@pytest.mark.lab
def test_neighbours_are_those_of_their_interface(wire: Pair) -> None:
    """Both families; one whose hardware address is not known yet is left out."""
    for address, words in [
        ("10.203.1.9", ["lladdr", "12:2f:af:44:4a:34", "nud", "permanent"]),
        ("fd00::9", ["lladdr", "12:2f:af:44:4a:35", "nud", "permanent"]),
        ("10.203.1.8", ["nud", "failed"]),
    ]:
        wire.a.run("ip", "neighbour", "add", address, "dev", "eth0", *words)
    with wire.a.inside():
        links, known = asyncio.run(read_links()), asyncio.run(read_neighbours())
    (index,) = [link.index for link in links if link.name == "eth0"]
    assert known[index]["10.203.1.9"] == "12:2f:af:44:4a:34"
    assert known[index]["fd00::9"] == "12:2f:af:44:4a:35"
    assert "10.203.1.8" not in known[index]
