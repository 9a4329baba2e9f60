"""What a node announces to its tailnet, on recorded states of one whose control server approves some of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from preflight.model.overlay import OverlayState
from preflight.overlay.tailscale import parse_status, with_preferences
from preflight.overlay.tailscale_routes import NOT_APPROVED, with_announced
from preflight.proto.tunnel.levers import approval

SAMPLES = Path(__file__).parent / "samples/tailscale/live2"
NET, EXITS = "10.60.0.0/24", ["0.0.0.0/0", "::/0"]


def read(name: str, announces: list[str] | None, approved: list[str], **own: Any) -> OverlayState:
    """The recorded state, if it announces this and some of it is approved."""
    folder = SAMPLES if (SAMPLES / f"status-{name}.json").exists() else SAMPLES.parent
    status = json.loads((folder / f"status-{name}.json").read_bytes())
    preferences = json.loads((SAMPLES / "prefs-noroutes.json").read_bytes()) | {"AdvertiseRoutes": announces}
    status["Self"] |= {"AllowedIPs": [*(status["Self"].get("AllowedIPs") or []), *approved], **own}
    state = with_preferences(parse_status(status, (), 1796000000.0), preferences, leaving=False)
    return with_announced(state, status, preferences)


def said(state: OverlayState) -> list[str]:
    """What is not approved, in words."""
    return [each.said for each in state.complaints if each.code == NOT_APPROVED]


@pytest.mark.parametrize(
    ("name", "announces", "approved"),
    [
        ("healthy", None, []),
        ("healthy", [NET], [NET]),
        ("healthy", ["10.60.0.0/25"], [NET]),
        ("healthy", EXITS, EXITS),
        ("healthy", [NET, *EXITS], [*EXITS, NET]),
        ("acceptroutes", ["10.50.0.0/24"], []),
        ("loggedout", [NET], []),
        ("machineauth", [NET], []),
    ],
    ids=["nothing", "approved", "wider", "exit", "both", "another member's", "logged out", "not admitted"],
)
def test_nothing_is_missing(name: str, announces: list[str] | None, approved: list[str]) -> None:
    """What is approved comes back; of two routers for one network one may have it; and a node outside does not know."""
    assert said(read(name, announces, approved)) == []


def test_a_node_that_lost_its_control_server() -> None:
    """What it has is of before: an approval since would not be there."""
    assert said(read("healthy", [NET], [], Online=False)) == []
    assert said(read("healthy", [NET], [], AllowedIPs=None)) == []


@pytest.mark.parametrize(
    ("announces", "approved", "words"),
    [
        ([NET], [], f"this node announces {NET}, and its tailnet has not approved that"),
        ([NET, "10.61.0.0/24"], [NET], "announces 10.61.0.0/24, and"),
        ([NET], EXITS, f"announces {NET}, and"),
        (EXITS, [], "this node offers to be an exit node, and"),
        ([NET, *EXITS], [], f"announces {NET} and offers to be an exit node, and"),
        ([f"10.{n}.0.0/16" for n in range(60, 66)], [], "10.63.0.0/16 and 2 more, and"),
    ],
)
def test_what_nobody_has_approved(announces: list[str], approved: list[str], words: str) -> None:
    """One sentence with what is missing; an exit node has no network of its own for that."""
    (sentence,) = said(read("healthy", announces, approved))
    assert words in sentence


def test_where_it_is_approved() -> None:
    """A server of the tailnet's own takes the whole list; Tailscale's has a console."""
    own = read("healthy", [NET, "10.61.0.0/24"], [NET])
    (remedy,) = approval(own)
    assert remedy.where == "product console"
    assert f"headscale nodes approve-routes --identifier ID --routes {NET},10.61.0.0/24" in remedy.lines[0]
    (remedy,) = approval(OverlayState("tailscale", "tailscale0", up=True, mtu=1280))
    assert "admin console of tailscale.com: Machines > this machine > Edit route settings" in remedy.lines[0]
