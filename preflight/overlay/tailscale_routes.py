"""The networks that this node announces to its tailnet, and those of them that nobody has approved; pure."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Final

from preflight.model.complaint import Complaint
from preflight.model.overlay import WHOLE_BITS, IPNetwork, OverlayState
from preflight.overlay.json_types import table, text, texts

NOT_APPROVED: Final = "overlay.routes-not-approved"
_MOST: Final = 4


def with_announced(state: OverlayState, status: Mapping[str, Any], preferences: Mapping[str, Any]) -> OverlayState:
    """The state with what this node announces, and with a complaint about what its control server gives to nobody.

    A node gets what it announces back as its own once that is approved. What another member has is not missing: of two
    routers for one network some servers give it to one alone. Who has lost the server has old news.
    """
    announces = tuple(dict.fromkeys(map(_network, texts(preferences.get("AdvertiseRoutes")))))
    own = table(status.get("Self"))
    known = [_network(each) for each in texts(own.get("AllowedIPs"))]
    if not announces or not known or text(status.get("BackendState")) != "Running" or not own.get("Online"):
        return replace(state, announces=announces)
    known += [each for peer in state.peers for each in peer.addresses if each.prefixlen > WHOLE_BITS]
    missing = [each for each in announces if not any(_within(each, other) for other in known)]
    if not missing or state.condition is not None:
        return replace(state, announces=announces)
    complaint = Complaint(NOT_APPROVED, _said(missing))
    return replace(state, announces=announces, complaints=(*state.complaints, complaint))


def _said(missing: list[IPNetwork]) -> str:
    networks = [str(each) for each in missing if each.prefixlen > WHOLE_BITS]
    more = f" and {len(networks) - _MOST} more" if len(networks) > _MOST else ""
    what = [f"announces {', '.join(networks[:_MOST])}{more}"] if networks else []
    what += ["offers to be an exit node"] if len(networks) < len(missing) else []
    return f"this node {' and '.join(what)}, and its tailnet has not approved that: no member sends it anything for it"


def _within(network: IPNetwork, other: IPNetwork) -> bool:
    """An exit node has every network in it, and no member takes it for one of them."""
    if network.version != other.version or other.prefixlen > network.prefixlen:
        return False
    return network == other or (other.prefixlen > WHOLE_BITS and other.supernet_of(network))  # type: ignore[arg-type]


def _network(said: str) -> IPNetwork:
    return ip_network(said, strict=False)
