"""What the peer's responder says of packets, by mailbox and by hellos, as observations of its stations; pure."""

from collections.abc import Iterator

from preflight.model.path import AskResult
from preflight.proto.responder.reach import Way, forward_way
from preflight.proto.way.observation import Observation
from preflight.proto.way.stations import Station

_SOCKET = Station("socket", "receiver")


def peer_word(asked: AskResult, name: str) -> tuple[Observation, ...]:
    """Both directions: what came to the peer's socket and left its kernel, and what came to this node's.

    name: the peer's target. Silence counts only from a peer that says how many packets it sent or received.
    """
    return (*_forward(asked, name), *_reverse(asked, name))


def _forward(asked: AskResult, name: str) -> Iterator[Observation]:
    way = forward_way(asked)
    if way not in (Way.OPEN, Way.DEAD):
        return
    by = f"{name} by mailbox" if asked.report is not None else f"{name} by hellos"
    seen = asked.sent if way is Way.OPEN else 0
    reason = f"{name} received {'packets' if seen else f'none of {asked.sent} packets'}"
    yield Observation(
        station=_SOCKET,
        finding="seen" if way is Way.OPEN else "absent",
        by=by,
        reason=reason,
        sent=asked.sent,
        seen=seen,
    )


def _reverse(asked: AskResult, name: str) -> Iterator[Observation]:
    report = asked.report
    if report is not None and report.sent and not report.send_errors:
        # A kernel reports it to the sender if its own firewall refuses a packet, or if there is no route.
        yield Observation(
            station=Station("filter-out"),
            finding="seen",
            direction="reverse",
            by=f"{name} by mailbox",
            reason=f"{report.sent} probes left the socket of {name}",
            sent=report.sent,
            seen=report.sent,
        )
    if asked.reached_socket:
        reason = "packets of the peer came to the socket"
        yield Observation(station=_SOCKET, finding="seen", direction="reverse", reason=reason)
    elif report is not None and report.sent:
        reason = f"none of {report.sent} probes of {name} came to the socket"
        yield Observation(
            station=_SOCKET, finding="absent", direction="reverse", reason=reason, sent=report.sent, seen=0
        )
