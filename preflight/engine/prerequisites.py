"""What failed prerequisites leave of a check: of several overlays of a node, one that is broken stops only its own."""

from collections.abc import Iterable, Sequence

from preflight.api import CONTROL, NODE, Check, Peer, Result
from preflight.model.readings import members


def stopped(failures: Iterable[Result]) -> dict[str, Result]:
    """Whom failures concern that are about a peer, or about an overlay of this node and not about its others."""
    found: dict[str, Result] = {}
    for result in failures:
        for target in (members(result.facts) or ()) if result.target in (NODE, CONTROL) else (result.target,):
            found.setdefault(target, result)
    return found


def stops_all(check: Check, failures: Sequence[Result], peers: Sequence[Peer]) -> Result | None:
    """The failure that leaves a check nothing to look at; None where something is left.

    What one overlay keeps from a check about this node leaves it the peers of the others.
    """
    none_left = stopped(failures).keys() >= {peer.target for peer in peers}
    return next((each for each in failures if _stops(check, each, none_left=none_left)), None)


def _stops(check: Check, failure: Result, *, none_left: bool) -> bool:
    about = members(failure.facts)
    if failure.target not in (NODE, CONTROL):
        return check.subject != "peer"
    if about is None:
        return True
    return none_left if check.subject == "node" else check.subject == "control" and CONTROL in about
