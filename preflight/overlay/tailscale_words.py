"""What Tailscale's daemon says is wrong although it runs: its own warnings, and what its state shows; pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from preflight.model.complaint import Complaint
from preflight.overlay.json_types import table, text, texts

_KNOWN: tuple[tuple[re.Pattern[str], str, bool], ...] = (
    (re.compile(r"--accept-routes is false"), "overlay.routes-not-accepted", False),
    (re.compile(r"resolv\.conf (was )?overwritten|dns-fight"), "overlay.dns-overwritten", False),
    (re.compile(r"relay server|home relay|DERP"), "overlay.relay-unreachable", False),
    (re.compile(r"network map|map poll|map response|coordination server|control server"), "overlay.offline", True),
)
"""The daemon's warnings by what they are about; a later version words the same in another way."""
_NO_FAULT = re.compile(r"^(?!.*security).*(update.* available|new version)|Please wait|is stopped", re.IGNORECASE)
_UNSEEN = "the control server does not see this node: the connection is cut, or the node was deleted there"


def complaints(status: Mapping[str, Any]) -> tuple[Complaint, ...]:
    """All of them, each kind once, of a daemon that is running; of one that is not, the state that it is in."""
    backend = text(status["BackendState"])
    if backend != "Running":
        return (Complaint("overlay.unhealthy", f"its state is {backend}"),)
    found: dict[str, Complaint] = {}
    for each in (*_warned(status), *_shown(status)):
        found.setdefault(each.code if each.code != "overlay.unhealthy" else each.said, each)
    return tuple(found.values())


def _warned(status: Mapping[str, Any]) -> Iterator[Complaint]:
    """The daemon's own warnings."""
    for said in texts(status.get("Health")):
        if _NO_FAULT.search(said):
            continue
        kinds = ((code, cuts) for pattern, code, cuts in _KNOWN if pattern.search(said))
        code, cuts = next(kinds, ("overlay.unhealthy", False))
        yield Complaint(code, said.rstrip("."), cuts=cuts)


def _shown(status: Mapping[str, Any]) -> Iterator[Complaint]:
    """What it does not warn about, and its state shows."""
    if not table(status.get("Self")).get("Online"):
        yield Complaint("overlay.offline", _UNSEEN, cuts=True)
    leaving = table(status.get("ExitNodeStatus"))
    peers = map(table, table(status.get("Peer")).values())
    exit_node = next((peer for peer in peers if peer.get("ExitNode") is True), None)
    if not leaving or exit_node is None:
        return
    name = text(exit_node.get("HostName")) or text(leaving.get("ID"))
    if exit_node.get("ExitNodeOption") is False:
        yield Complaint("overlay.exit-node-gone", f"{name} is this node's exit node, and does not offer to be one")
    elif leaving.get("Online") is False:
        yield Complaint("overlay.exit-node-gone", f"{name} is this node's exit node, and is offline")
