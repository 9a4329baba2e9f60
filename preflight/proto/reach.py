"""What an inquiry proves about each direction of a path; what nothing proves stays unknown."""

from enum import Enum

from preflight.model.path import AskResult


class Way(Enum):
    """The state of one direction."""

    OPEN = "open"
    DEAD = "dead"
    DROPPED_HERE = "dropped here"
    UNKNOWN = "unknown"


def forward_way(asked: AskResult) -> Way:
    """What reached the peer: by its own word, or because it sends to a port that it can only have from our packets."""
    report = asked.report
    if report is not None:
        return Way.OPEN if report.received or report.elsewhere or report.refused else Way.DEAD
    return Way.OPEN if asked.on_interface else Way.UNKNOWN


def reverse_way(asked: AskResult) -> Way:
    """What reached this node. Dead only when the peer says that it sent, or was not let send."""
    if asked.probes_received:
        return Way.OPEN
    if asked.on_interface:
        return Way.DROPPED_HERE
    if asked.report is not None and (asked.report.sent or asked.report.send_errors):
        return Way.DEAD
    return Way.UNKNOWN
