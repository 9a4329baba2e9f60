"""What `init` writes on a node in each recorded state is what a run without it uses."""

import json
from collections.abc import Sequence
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from preflight.model.kernel import Link
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import Peer
from preflight.overlay import zerotier
from preflight.overlay.links import state_of
from preflight.overlay.read import choose, named
from preflight.settings.first_file import Found, initial_settings
from preflight.settings.peers import overlay_peers
from preflight.settings.schema import read_config
from tests.overlay.test_sample_causes import (
    NEBULA,
    NOW_UNIX_S,
    PARAMETERS,
    RECORDED,
    SAMPLES,
    ZEROTIER,
    device,
    members,
    tailnet,
    zerotier_sample,
)


def same_after_init(states: Sequence[OverlayState], links: Sequence[Link], tmp_path: Path) -> None:
    """The same overlay, the same peers, and no prefix."""
    used = choose(states, [])
    assert used is not None
    path = tmp_path / "preflight.yaml"
    path.write_text(initial_settings(Found("a", used, overlay_peers((), used))), encoding="utf-8")
    settings = read_config(path)
    again = named(settings.overlay.interface, states, links) if settings.overlay.interface else choose(states, [])
    assert again is used
    assert settings.overlay.prefixes == ()
    written = tuple(Peer(each.address, each.name) for each in settings.peers)
    assert overlay_peers(written, again) == overlay_peers((), used)


@pytest.mark.parametrize(("folder", "name"), PARAMETERS)
def test_tailscale(folder: str, name: str, tmp_path: Path) -> None:
    """In every state of its life, also without an interface."""
    state, links = tailnet(SAMPLES / f"tailscale/{folder}status-{name}.json", NOW_UNIX_S)
    same_after_init([state], links, tmp_path)


@pytest.mark.parametrize("name", ZEROTIER)
def test_zerotier(name: str, tmp_path: Path) -> None:
    """Also where no network is joined."""
    parts = (zerotier_sample(f"live2/{name}.{what}") for what in ("info", "listnetworks", "listpeers"))
    info, networks, peers = parts
    links = [device(network["portDeviceName"], "10.88.0.30/24") for network in networks]
    same_after_init(zerotier.parse(info, networks, peers, links) or [zerotier.networkless([])], links, tmp_path)


@pytest.mark.parametrize("name", NEBULA)
def test_nebula(name: str, tmp_path: Path) -> None:
    """Whom its host map has is written as an address without a name."""
    section = RECORDED.split(f"=== {name}\n")[1].split("\n===")[0].splitlines()
    lists = [next(line.partition(": ")[2] for line in section if line.startswith(w)) for w in ("hostmap", "pending")]
    state, links = members(*map(json.loads, lists))
    same_after_init([state], links, tmp_path)


def test_several_overlays(tmp_path: Path) -> None:
    """The first that works is named, so that another that comes up later changes nothing."""
    links = [device("wg0", "10.66.0.1/24"), device("tailscale0", "100.64.0.1/32")]
    first = OverlayState("wireguard", "wg0", up=False, mtu=1420, addresses=(ip_interface("10.66.0.1/24"),))
    second, _ = tailnet(SAMPLES / "tailscale/live2/status-healthy.json", NOW_UNIX_S)
    same_after_init([first, second], links, tmp_path)


@pytest.mark.parametrize("name", ["tun0", "vxlan0"])
def test_an_interface_that_no_product_claims(name: str, tmp_path: Path) -> None:
    """OpenVPN and VXLAN have no daemon to ask: the interface of the settings is taken as it is."""
    link = device(name, "10.8.0.2/24")
    same_after_init([state_of(link, "generic")], [link], tmp_path)


def test_two_members_with_one_name(tmp_path: Path) -> None:
    """Both are written by their addresses: a file with one name twice could not be read."""
    twins = tuple(OverlayPeer(key=f"k{n}", name="laptop", addresses=(ip_network(f"100.64.0.{n}/32"),)) for n in (2, 3))
    state = OverlayState("tailscale", "tailscale0", up=True, mtu=1280, peers=twins)
    assert [peer.target for peer in overlay_peers((), state)] == ["100.64.0.2", "100.64.0.3"]
    same_after_init([state], [device("tailscale0", "100.64.0.1/32")], tmp_path)
