"""What to say, and to do, where a peer's sessions go to and fro between two machines; pure."""

from typing import Any

from preflight.model.overlay import OverlayPeer
from preflight.model.peer import Peer
from preflight.model.remedy import Remedies, look
from preflight.proto.tunnel.endpoint_turns import Turns

Told = tuple[str, Remedies, dict[str, Any]]
"""Message, remedies and measurements."""


def in_log(peer: Peer, known: OverlayPeer, product: str) -> Told | None:
    """What the product's own log shows of a peer, if that is two machines."""
    if known.turns is None:
        return None
    return explain(peer, known, product, Turns(known.turns, known.changes), "in the last minutes of its log")


def explain(peer: Peer, known: OverlayPeer, product: str, found: Turns, when: str = "in this run") -> Told:
    """What an endpoint that returns shows. when: it did."""
    if found.of_this_node:
        return _renewed(peer, found, when)
    first, second = found.places
    what = "certificate" if product == "nebula" else "key"
    message = (
        f"{product} sees the {what} of {peer.target} ({known.key}) at {first} and at {second} in turn, with "
        f"{found.changes} changes {when}: two machines use it"
    )
    measured = {"public_key": known.key, "endpoint": first, "other_endpoint": second}
    return message, _remedies(peer, product, found), measured


def _renewed(peer: Peer, found: Turns, when: str) -> Told:
    """Sessions that the peer gives up for those of another machine, as Nebula's host map or its log shows."""
    message = (
        f"nebula made {found.changes + 1} sessions with {peer.target} at {found.places[0]} {when}, and each held for "
        f"moments: another machine uses this node's certificate and takes them, or nebula on {peer.target} starts "
        "again and again"
    )
    remedies = (
        *look("nebula-cert print -path /etc/nebula/host.crt   # a copy of this machine needs another one", root=True),
        *look("journalctl -u nebula -n 30   # does it restart?", where="peer", host=peer.target, root=True),
    )
    return message, remedies, {"endpoint": found.places[0], "sessions": found.changes + 1}


def _remedies(peer: Peer, product: str, found: Turns) -> Remedies:
    """Which of the two is the copy, only its owner knows."""
    hosts = " and on ".join(dict.fromkeys(place.rpartition(":")[0] for place in found.places))
    if product == "tailscale":
        line = f"tailscale logout; tailscale up   # on the copy: on {hosts}, one has to log in as another machine"
    elif product == "nebula":
        line = f"nebula-cert print -path /etc/nebula/host.crt   # on {hosts}: the copy needs another certificate"
    else:
        line = f"wg show all public-key   # on {hosts}: the copy needs another key (wg genkey)"
    return look(line, where="peer", host=peer.target, root=True)
