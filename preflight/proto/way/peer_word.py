"""What the peer's responder says of packets, by mailbox and by hellos, as observations of its stations; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.path import AskResult, PeerReport
from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.remedy import look
from preflight.proto.responder.reach import Way, forward_way
from preflight.proto.responder.return_path import Explained, explain
from preflight.proto.way.observation import Death, Finding, Observation, Passing
from preflight.proto.way.peer_death import Asker
from preflight.proto.way.peer_observed import observed_by
from preflight.proto.way.session_advice import allow_there
from preflight.proto.way.stations import Station
from preflight.proto.way.words import counted

_SOCKET, _RP = Station("socket", "receiver"), Station("rp", "receiver")
_ADDRESS, _ROUTE = Station("address"), Station("route")
_FILTER_OUT, _EGRESS = Station("filter-out"), Station("egress")
_REFUSED_BY_ROUTE: Mapping[str, str] = {
    "EINVAL": "blackhole",
    "EHOSTUNREACH": "unreachable",
    "EACCES": "prohibit",
    "ENETUNREACH": "none",
}
"""What a kernel reports to a sender whose route, or rule, is of a type that refuses."""


def peer_word(asked: AskResult, name: str, *, passes: Passing | None = None) -> tuple[Observation, ...]:
    """Both directions: what came to the peer's socket and left its kernel, what its observers saw of both between
    these, and what came to this node's socket.

    name: the peer's target. passes: what it answers although its responder is silent. Silence counts only from a
    peer that says how many packets it sent or received.
    """
    told = tuple(_told(asked, name, passes))
    # What has the source of an own address a kernel does not take: both directions die of that, and it is said once.
    own = any(
        each.death is not None and each.death.certain and each.death.code == codes.OVERLAY_DUPLICATE_ADDRESS
        for each in told
    )
    forward = () if own else tuple(_forward(asked, name))
    return (*forward, *told, *_reverse(asked, name, told))


def _told(asked: AskResult, name: str, passes: Passing | None) -> Iterator[Observation]:
    """What the peer's observers report; where they name nothing, what its report explains by itself."""
    report = asked.report
    if report is None or asked.local is None:
        return
    asker = Asker(name=name, address=asked.local[0], passes=passes, public_key=asked.public_key)
    observed = tuple(_as_one(_allowed(observed_by(report.observed, asker), report.tunnel, asker)))
    yield from observed
    named = {each.direction for each in observed if each.finding == "killed"}
    cause = explain(asked, name)
    if cause is not None and not cause.is_warning and cause.direction not in named:
        yield _explained(cause, report, name)
    elif "reverse" not in named:
        yield from _to_itself(report, asker)
        yield from _refused(report, asker)


def _allowed(words: Iterable[Observation], tunnel: PeerTunnel | None, asker: Asker) -> Iterator[Observation]:
    """Where the peer knows this node's key: what gives this node's address to it there.

    A tunnel that does not know the key at all says so itself, and its list of addresses is not a second cause.
    """
    key = asker.public_key
    for each in words:
        death = each.death
        if death is None or death.code != codes.OVERLAY_ALLOWED_IPS or key is None or tunnel is None:
            yield each
        elif tunnel.knows_key:
            fix = allow_there(tunnel, key, asker.address, asker.name, owner=tunnel.owner)
            yield replace(each, death=replace(death, remedies=fix or death.remedies))


def _as_one(words: Iterable[Observation]) -> tuple[Observation, ...]:
    """A route of the peer's that leads elsewhere is also why its filter drops what comes: the route heals both."""
    known = tuple(words)
    leak = next((each.death for each in known if each.death and each.death.code == codes.OVERLAY_ROUTE_LEAK), None)
    if leak is None:
        return known
    return tuple(
        replace(each, death=replace(each.death, remedies=leak.remedies))
        if each.death and each.death.code == codes.HOST_RP_FILTER
        else each
        for each in known
    )


def _explained(cause: Explained, report: PeerReport, name: str) -> Observation:
    """The peer's own kernel explains the direction: its reverse-path filter, or its route."""
    way = report.way
    by = way.arrival if way and cause.direction == "forward" else way.interface if way else None
    sysctl = "rp_filter" if cause.direction == "forward" else None
    facts = DeathFacts(interface=by, sysctl=sysctl)
    death = Death(code=cause.code, message=cause.message, facts=facts, remedies=cause.remedies)
    station = _RP if cause.direction == "forward" else _ROUTE
    return _by_mailbox(name, station, "killed", cause.direction, cause.message, death=death)


def _to_itself(report: PeerReport, asker: Asker) -> Iterator[Observation]:
    """A route by its loopback: this node's address is its own too, or somebody wrote a route that leads nowhere."""
    if report.way is None or not report.way.to_itself:
        return
    reason = f"{asker.name} delivers to itself what is for {asker.address}, as a host does that has this address too"
    death = Death(
        code=codes.OVERLAY_DUPLICATE_ADDRESS,
        message=reason,
        facts=DeathFacts(address=asker.address),
        remedies=look(f"ip address show to {asker.address}", where="peer", host=asker.name),
        certain=False,
    )
    yield _by_mailbox(asker.name, _ADDRESS, "killed", "reverse", reason, death=death)


def _refused(report: PeerReport, asker: Asker) -> Iterator[Observation]:
    """Why the peer's own system refused to send, by the errors that the responder got from it."""
    if report.sent or not report.send_errors:
        return
    names = ", ".join(sorted(report.send_errors))
    types = {_REFUSED_BY_ROUTE[error] for error in report.send_errors if error in _REFUSED_BY_ROUTE}
    if len(types) == 1:
        (kind,) = types
        refuses = f"the kernel of {asker.name} refuses to send to {asker.address} ({names})"
        reason = f"{refuses}, as by a route of type {kind}"
        remedies = look(f"ip rule; ip route get {asker.address}", where="peer", host=asker.name)
        facts = DeathFacts(route_type=kind)
        death = Death(code=codes.REACH_NO_REVERSE, message=reason, facts=facts, remedies=remedies)
        yield _by_mailbox(asker.name, _ROUTE, "killed", "reverse", reason, death=death)
    elif set(report.send_errors) == {"EPERM"}:
        reason = f"a filter of {asker.name} itself refuses what it sends to {asker.address} ({names})"
        yield _by_mailbox(asker.name, _ROUTE, "seen", "reverse", reason)
        yield _by_mailbox(asker.name, _EGRESS, "absent", "reverse", reason)


def _forward(asked: AskResult, name: str) -> Iterator[Observation]:
    way = forward_way(asked)
    if way not in (Way.OPEN, Way.DEAD):
        return
    by = f"{name} by mailbox" if asked.report is not None else f"{name} by hellos"
    seen = asked.sent if way is Way.OPEN else 0
    what = "packets" if seen else f"none of {asked.sent} packets" if asked.sent else "nothing: none left this node"
    reason = f"{name} received {what}"
    yield Observation(
        station=_SOCKET,
        finding="seen" if way is Way.OPEN else "absent",
        by=by,
        reason=reason,
        sent=asked.sent,
        seen=seen,
    )


def _reverse(asked: AskResult, name: str, told: Sequence[Observation]) -> Iterator[Observation]:
    report = asked.report
    # A socket that took a packet says nothing of where it went: into the tunnel, out by another device, or to itself.
    astray = any(each.finding == "killed" and each.station.id in ("address", "route") for each in told)
    if report is not None and report.sent and not report.send_errors and not astray:
        # A kernel reports it to the sender if its own firewall refuses a packet, or if there is no route.
        reason = f"{counted(report.sent, 'probe')} left the socket of {name}"
        yield _by_mailbox(name, _FILTER_OUT, "seen", "reverse", reason, sent=report.sent, seen=report.sent)
    if asked.reached_socket:
        reason = "packets of the peer came to the socket"
        yield Observation(station=_SOCKET, finding="seen", direction="reverse", reason=reason)
    elif report is None and asked.hello is not None and asked.hello.after_s > 0:
        yield Observation(station=_SOCKET, finding="seen", direction="reverse", reason=f"a hello of {name} came here")
    elif report is not None and report.sent:
        reason = f"none of {report.sent} probes of {name} came to the socket"
        yield Observation(
            station=_SOCKET, finding="absent", direction="reverse", reason=reason, sent=report.sent, seen=0
        )


def _by_mailbox(
    name: str,
    station: Station,
    finding: Finding,
    direction: Literal["forward", "reverse"],
    reason: str,
    *,
    sent: int = 0,
    seen: int = 0,
    death: Death | None = None,
) -> Observation:
    return Observation(
        station=station,
        finding=finding,
        direction=direction,
        by=f"{name} by mailbox",
        reason=reason,
        sent=sent,
        seen=seen,
        death=death,
    )
