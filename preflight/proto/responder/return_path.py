"""What a peer's kernel explains about a direction that is dead, or that takes another path than the other one."""

from dataclasses import dataclass
from typing import Literal

from preflight import codes
from preflight.codes import Code, Severity
from preflight.model.fix import Route
from preflight.model.path import AskResult
from preflight.model.remedy import Remedies, heal
from preflight.model.return_path import STRICT, ReturnPath
from preflight.proto.responder.reach import Way, forward_way, reverse_way


@dataclass(frozen=True, slots=True)
class Explained:
    """A cause at the peer. aspect: another one than the explained verdict's. remedies: for the peer."""

    code: Code
    direction: Literal["forward", "reverse"]
    aspect: str
    message: str
    remedies: Remedies

    @property
    def is_warning(self) -> bool:
        """Whether this cause alone stops no packets."""
        return self.code.severity is Severity.WARN


def explain(asked: AskResult, peer: str) -> Explained | None:
    """What the peer's report by mailbox explains, if anything; `peer` is its name.

    The filter comes before the route, because its drops were counted. A route out of another interface is a leak only
    where nothing comes this way; where packets arrive, it is only proven that the two directions differ.
    """
    way = asked.report.way if asked.report else None
    if way is None or asked.local is None:
        return None
    if forward_way(asked) is Way.DEAD and way.drops:
        return _filtered(way, asked.local[0], peer)
    if not way.elsewhere:
        return None
    return (
        leaking(way, asked.local[0], peer) if reverse_way(asked) is Way.DEAD else other_way(way, asked.local[0], peer)
    )


def _filtered(way: ReturnPath, here: str, peer: str) -> Explained:
    kind = "strict" if way.rp_filter == STRICT else "loose"
    route = f"its route back to {here} leaves by {way.exit}" if way.interface else f"it has no route back to {here}"
    dropped = f"{way.dropped} {'packet' if way.dropped == 1 else 'packets'}"
    return Explained(
        codes.HOST_RP_FILTER,
        "forward",
        "rp-filter",
        f"the {kind} reverse-path filter of {peer} drops what this node sends, {dropped} while it was asked: "
        f"it comes in by {way.arrival}, and {route}",
        _route_back(way, here, peer),
    )


def leaking(way: ReturnPath, here: str, peer: str) -> Explained:
    """The peer's packets for this node leave by another interface than the overlay's, and do not arrive."""
    return Explained(
        codes.OVERLAY_ROUTE_LEAK,
        "reverse",
        "route",
        f"the route of {peer} back to {here} leaves by {way.exit}, not by {way.arrival}, and none of what it sent "
        "reached this node's socket",
        _route_back(way, here, peer),
    )


def other_way(way: ReturnPath, here: str, peer: str) -> Explained:
    """The peer's packets for this node leave by another interface than this node's come in by, and arrive."""
    return Explained(
        codes.REACH_ASYMMETRIC,
        "reverse",
        "route",
        f"the route of {peer} back to {here} leaves by {way.exit}, while what this node sends comes in there by "
        f"{way.arrival}",
        _route_back(way, here, peer),
    )


def _route_back(way: ReturnPath, here: str, peer: str) -> Remedies:
    """With a route back by the same interface the filter lets the packets in, however strict it is.

    It goes into the table that decides: a rule may send only some packets there, such as UDP.
    """
    host = f"{here}/{128 if ':' in here else 32}"
    return heal(
        lambda: Route(action="replace", destination=host, interface=str(way.arrival), table=way.table),
        where="peer",
        host=peer,
    )
