"""What Tailscale says is wrong although it runs, from recorded states."""

import json
from pathlib import Path
from typing import Any

import pytest

from preflight.overlay.tailscale_words import complaints

SAMPLES = Path(__file__).parent / "samples" / "tailscale"


def said(path: str, **change: Any) -> list[tuple[str, bool]]:
    """The code of each complaint, and whether it would account for silence."""
    status = json.loads((SAMPLES / f"{path}.json").read_text(encoding="utf-8")) | change
    return [(each.code, each.cuts) for each in complaints(status)]


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("live2/status-healthy", []),
        ("live2/status-aclnone", []),
        ("status-noroutes", [("overlay.routes-not-accepted", False)]),
        ("status-acceptroutes", []),
        ("status-exitnode", []),
        ("live2/status-exitnode_gone", [("overlay.exit-node-gone", False)]),
        ("live2/status-magic_overwritten", [("overlay.dns-overwritten", False)]),
        ("status-derpdown", [("overlay.relay-unreachable", False)]),
        ("live2/status-ctldown", [("overlay.relay-unreachable", False), ("overlay.offline", True)]),
        ("status-controldown", [("overlay.offline", True)]),
        ("status-deleted", [("overlay.offline", True)]),
    ],
)
def test_each_complaint_has_its_finding(path: str, codes: list[tuple[str, bool]]) -> None:
    """Protects that what decides does not stay in a line that passes; each kind is said once."""
    assert said(path) == codes


def test_words_of_a_later_version_are_kept() -> None:
    """A warning that is not known is repeated in its own words, and one that is not a fault is left out."""
    words = ["Something new is wrong.", "An update from version 1.78 to 1.80 is available."]
    status = {"BackendState": "Running", "Self": {"Online": True}, "Health": words}
    assert [(each.code, each.said) for each in complaints(status)] == [("overlay.unhealthy", "Something new is wrong")]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("not in map poll", "overlay.offline"),
        ("no map response in 2m5s", "overlay.offline"),
        ("Unable to connect to the Tailscale coordination server to synchronize the state", "overlay.offline"),
        ("not connected to home DERP region 900", "overlay.relay-unreachable"),
        ("A security update from version 1.78.1 to 1.80.3 is available.", "overlay.unhealthy"),
        # The server answers, and has something to say: this node is not cut off.
        ("The coordination server is reporting an health issue: billing is overdue", "overlay.unhealthy"),
        (
            "Some peers are advertising routes but --accept-routes is disabled (legacy default)",
            "overlay.routes-not-accepted",
        ),
    ],
)
def test_words_of_other_versions(words: str, code: str) -> None:
    """Older and newer daemons word the same in another way; an update that security needs is not left out."""
    status = {"BackendState": "Running", "Self": {"Online": True}, "Health": [words]}
    assert [each.code for each in complaints(status)] == [code]


def test_an_exit_node_that_is_offline() -> None:
    """It offers to be one, and is not there."""
    status = json.loads((SAMPLES / "status-exitnode.json").read_text(encoding="utf-8"))
    status["ExitNodeStatus"]["Online"] = False
    (complaint,) = complaints(status)
    assert (complaint.code, complaint.said) == ("overlay.exit-node-gone", "nb is this node's exit node, and is offline")


def test_a_daemon_that_is_not_running_says_only_its_state() -> None:
    """What it says of its servers then is a consequence."""
    assert said("live2/status-healthy", BackendState="NeedsLogin") == [("overlay.unhealthy", False)]
    assert said("live2/status-healthy", BackendState="Starting") == [("overlay.offline", True)]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("network down", "overlay.offline"),
        ("derp1: too many connections", "overlay.relay-unreachable"),
        ("dns-os: could not write", "overlay.unhealthy"),
        ("no udp4 bind", "overlay.unhealthy"),
    ],
)
def test_words_of_an_earlier_version(words: str, code: str) -> None:
    """Until 1.70 the daemon had other words for the same."""
    status = {"BackendState": "Running", "Self": {"Online": True}, "Health": [words]}
    assert [each.code for each in complaints(status)] == [code]


def test_userspace_networking_says_what_it_is() -> None:
    """What the daemon cannot set on the machine follows from its having no interface."""
    assert said("live2/status-userspace") == []
