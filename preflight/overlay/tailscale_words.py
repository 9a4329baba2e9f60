"""What Tailscale's daemon says is wrong although it runs: its own warnings, and what its state shows; pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from preflight.model.complaint import Complaint
from preflight.overlay.json_types import table, text, texts


@dataclass(frozen=True, slots=True)
class _Kind:
    """Warnings of one kind: the words that show it, the code of the finding, and what it would account for."""

    pattern: re.Pattern[str]
    code: str
    cuts: bool = False
    names: bool = False


_KNOWN = (
    _Kind(re.compile(r"locked out"), "overlay.not-authorized", cuts=True),
    _Kind(re.compile(r"packet filter|reporting an (health )?issue"), "overlay.unhealthy"),
    _Kind(re.compile(r"--accept-routes is (false|disabled)"), "overlay.routes-not-accepted"),
    _Kind(re.compile(r"resolv\.conf (was )?overwritten|dns-fight"), "overlay.dns-overwritten", names=True),
    _Kind(
        re.compile(r"configured DNS servers|failed to (set|fetch) the DNS|^dns(-os|-manager)?: "),
        "overlay.unhealthy",
        names=True,
    ),
    _Kind(re.compile(r"network (is )?down"), "overlay.offline", cuts=True),
    _Kind(re.compile(r"log in using your web browser|blocking Tailscale traffic"), "overlay.offline", cuts=True),
    _Kind(re.compile(r"encrypted connection with .{,3}derp"), "overlay.relay-unreachable"),
    _Kind(re.compile(r"encrypted connection with"), "overlay.offline", cuts=True),
    _Kind(re.compile(r"relay server|home relay|DERP|^derp\d+: "), "overlay.relay-unreachable"),
    _Kind(re.compile(r"control plane syncing is disabled"), "overlay.offline"),
    _Kind(
        re.compile(r"network map|map poll|map response|coordination server|control server"),
        "overlay.offline",
        cuts=True,
    ),
)
"""The daemon's warnings by what they are about; a later version words the same in another way. Of several with one code
the first here is the narrowest: a captive portal is why there is no network map."""
_UNKNOWN = _Kind(re.compile(""), "overlay.unhealthy")
_NO_FAULT = re.compile(
    r"^(?!.*security).*(update.* available|new version)|unstable .*version|Please wait|is stopped"
    r"|Tailscale SSH|local log is misconfigured|stored in-memory|SELinux label|Docker was detected"
    r"|TLS certificate via ACME|posture checking",
    re.IGNORECASE,
)
"""What does not concern the way to peers: news of the product, and warnings about its further services."""
_STARTING = "its state is Starting: it has reached neither a relay nor a peer yet"
_UNSEEN = "the control server does not see this node: the connection is cut, or the node was deleted there"


def complaints(status: Mapping[str, Any]) -> tuple[Complaint, ...]:
    """All of them, each kind once, of a daemon that is running; of one that is not, the state that it is in."""
    backend = text(status["BackendState"])
    if backend == "Starting":
        return (Complaint("overlay.offline", _STARTING, cuts=True),)
    if backend != "Running":
        return (Complaint("overlay.unhealthy", f"its state is {backend}"),)
    found: dict[str, Complaint] = {}
    for each in (*_warned(status), *_shown(status)):
        found.setdefault(each.code if each.code != "overlay.unhealthy" else each.said, each)
    return tuple(found.values())


def _warned(status: Mapping[str, Any]) -> Iterator[Complaint]:
    """The daemon's own warnings, which it gives in any order."""
    warnings = ((_kind(said), said) for said in texts(status.get("Health")) if not _NO_FAULT.search(said))
    for kind, said in sorted(warnings, key=lambda each: _rank(each[0])):
        if kind.code == _UNKNOWN.code and status.get("TUN") is False:
            continue  # what it cannot set on the machine follows from its having no interface
        yield Complaint(kind.code, " ".join(said.split()).rstrip("."), cuts=kind.cuts, names=kind.names)


def _kind(said: str) -> _Kind:
    return next((kind for kind in _KNOWN if kind.pattern.search(said)), _UNKNOWN)


def _rank(kind: _Kind) -> int:
    return _KNOWN.index(kind) if kind in _KNOWN else len(_KNOWN)


def _shown(status: Mapping[str, Any]) -> Iterator[Complaint]:
    """What it does not warn about, and its state shows."""
    if not table(status.get("Self")).get("Online"):
        yield Complaint("overlay.offline", _UNSEEN, cuts=True)
    leaving = table(status.get("ExitNodeStatus"))
    peers = map(table, table(status.get("Peer")).values())
    exit_node = next((peer for peer in peers if peer.get("ExitNode") is True), None)
    if not leaving or exit_node is None:
        return
    name, key = text(exit_node.get("HostName")) or text(leaving.get("ID")), text(exit_node.get("PublicKey")) or None
    if exit_node.get("ExitNodeOption") is False:
        yield Complaint("overlay.exit-node-gone", f"{name} is this node's exit node, and does not offer to be one")
    elif leaving.get("Online") is False:
        yield Complaint("overlay.exit-node-gone", f"{name} is this node's exit node, and is offline", peer=key)
