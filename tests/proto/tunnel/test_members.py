"""Who is on which overlay, and addresses that no member of a tailnet has."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import Any

import pytest

from preflight.model.kernel import Link
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.peer import CONTROL, Peer
from preflight.model.remedy import as_text
from preflight.proto.tunnel.members import stranger, targets_on, uncarried, unknown_tunnels

NB = OverlayPeer(key="k", name="nb", addresses=(ip_network("100.64.0.2/32"), ip_network("10.50.0.0/24")))
EXIT = replace(NB, name="nx", addresses=(ip_network("100.64.0.3/32"), ip_network("0.0.0.0/0")))
TAILNET = OverlayState(
    "tailscale",
    "tailscale0",
    up=True,
    mtu=1280,
    addresses=(ip_interface("100.64.0.1/32"),),
    prefixes=(ip_network("100.64.0.0/10"),),
    peers=(NB, EXIT),
)


@pytest.mark.parametrize("address", ["100.64.0.1", "100.64.0.2", "10.50.0.7", "192.0.2.1"])
def test_who_has_an_address(address: str) -> None:
    """A member, a network behind one, this node; and an address elsewhere is not the tailnet's."""
    assert stranger(TAILNET, "nq", address) is None


def test_an_address_that_may_be_behind_a_member() -> None:
    """Who has it is listed; what is announced and not approved is not: that is one of the reasons."""
    assert uncarried(TAILNET, "10.50.0.7") is None
    assert uncarried(replace(TAILNET, unreadable="privilege"), "10.60.0.7") is None
    said, remedies = uncarried(TAILNET, "10.60.0.7") or ("", ())
    assert said.startswith("no member of the tailnet carries 10.60.0.7: nobody announces a network that has it, or it")
    assert "Machines > the member in front of it > Edit route settings" in (as_text(remedies) or "")


def test_an_address_that_nobody_has() -> None:
    """An exit node has it only as a part of the whole Internet. What the daemon does not list it sends nothing to."""
    said, remedies = stranger(TAILNET, "nq", "100.64.0.9") or ("", ())
    assert said.startswith("tailscale lists no member with the address 100.64.0.9: nq is not in this tailnet")
    assert [each.where for each in remedies] == ["product console"]


def test_a_machine_that_was_added_again() -> None:
    """Its name is there, with another address."""
    said, remedies = stranger(TAILNET, "nb", "100.64.0.9") or ("", ())
    assert said == "tailscale lists nb with the address 100.64.0.2, and no member with 100.64.0.9"
    assert "Name nb by the address 100.64.0.2" in (as_text(remedies) or "")
    _, remedies = stranger(TAILNET, "nb", "100.64.0.9", "/etc/preflight.yaml") or ("", ())
    assert [(each.kind, each.lines[0].partition("   #")[0]) for each in remedies] == [("fix", 'address: "100.64.0.2"')]


@pytest.mark.parametrize("change", [{"product": "zerotier"}, {"condition": "overlay.down"}, {"unreadable": "why"}])
def test_where_not_all_members_are_listed(change: dict[str, Any]) -> None:
    """Then nothing is said."""
    assert stranger(replace(TAILNET, **change), "nq", "100.64.0.9") is None


VXLAN = OverlayState("generic", "vx0", up=True, mtu=1370, addresses=(ip_interface("10.55.0.1/24"),))
BOTH = replace(TAILNET, further=(VXLAN,))
B, X = Peer("100.64.0.2", "nb"), Peer("10.55.0.2", "nx")


@pytest.mark.parametrize(
    ("peers", "control", "of_tailnet", "of_vxlan"),
    [
        ([B], None, None, (CONTROL,)),
        ([B, X], None, ("nb", CONTROL), ("nx", CONTROL)),
        ([B, X], "10.55.0.9", ("nb",), ("nx", CONTROL)),
        # What no overlay has may be led into any of them.
        ([B, X], "192.0.2.1", ("nb", CONTROL), ("nx", CONTROL)),
    ],
)
def test_whom_one_overlay_concerns(
    peers: list[Peer], control: str | None, of_tailnet: tuple[str, ...] | None, of_vxlan: tuple[str, ...]
) -> None:
    """Nobody is excluded where no peer is on another one."""
    assert targets_on(BOTH, BOTH, peers, control) == of_tailnet
    assert targets_on(BOTH, VXLAN, peers, control) == of_vxlan


def test_a_peer_whose_packets_go_through_another_overlay_counts_to_both() -> None:
    """A VXLAN to a machine of the tailnet is dead with the tailnet; one to another machine is not."""
    carried, other = (Peer(f"10.55.0.{number}", f"v{number}") for number in (2, 3))
    ends = ((carried, "100.64.0.2:4789"), (other, "192.0.2.3:4789"))
    peers = tuple(
        OverlayPeer(each.target, addresses=(ip_network(each.address),), endpoint=place) for each, place in ends
    )
    both = replace(BOTH, further=(replace(VXLAN, peers=peers),))
    assert targets_on(both, both, [carried, other], "192.0.2.9") == ("v2", CONTROL)


def test_tunnels_that_no_product_has() -> None:
    """They are named, with the kind of their device; those of a cluster's containers and of products are not."""
    link = Link(7, "vx0", 1370, up=True, carrier=True, kind="vxlan", addresses=(ip_interface("10.55.0.1/24"),))
    container = replace(link, name="flannel.1", addresses=(ip_interface("10.244.0.0/32"),))
    gre = replace(link, name="gre1", kind="gre", addresses=(ip_interface("10.7.0.1/30"),))
    links = [link, container, gre, replace(gre, name="gre2", up=False), replace(link, name="eth0", kind=None)]
    assert unknown_tunnels(TAILNET, links) == ["vxlan on vx0", "gre on gre1"]
    assert unknown_tunnels(BOTH, links) == ["gre on gre1"]
