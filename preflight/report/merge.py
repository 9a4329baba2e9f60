"""The reports of many nodes joined into one matrix. Pure.

Two reports describe the direction from A to B: A as forward, B as reverse. If one end says that it is dead and the
other received packets, the matrix shows both: together they know more than either.

A cell is the worst of what either end knows of that direction and of the round trip. A round trip whose cause has a
direction counts for that direction only. What sends no packet never makes a cell good.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface
from types import MappingProxyType

from preflight.model.printable import number_of
from preflight.report.common import by_id, labelled, status_of
from preflight.report.fields import DirectionName, StatusName
from preflight.report.matrix import BROKEN, WORST_FIRST, Hole, Matrix, Node, OwnCause, View, Way, worst
from preflight.report.matrix_findings import Told, find_causes
from preflight.report.model import CauseEntry, Report, ResultEntry

_ABOUT_PATH = ("overlay", "way", "reach", "mtu", "udp")
SENDING = ("way", "reach", "mtu", "udp")
"""The categories that send packets to the peer: only they make a cell good."""
_REACH = "reach"
_BACK: dict[DirectionName, DirectionName] = {"forward": "reverse", "reverse": "forward"}


@dataclass(frozen=True, slots=True)
class _Cause:
    """A cause of one report. at: the part of the way's host where it was proven to die, such as `sender`."""

    entry: CauseEntry
    status: StatusName
    at: str | None


_Known = tuple[StatusName, str | None, str, ResultEntry]
"""Status, code, message, and the result that they are from."""


@dataclass(slots=True)
class _Member:
    """A node and what counts of its reports."""

    name: str
    reports: list[Report]
    """The latest first."""
    peers: dict[str, str] = field(default_factory=dict)
    """A peer's name in the reports, to its name in the matrix."""
    results: dict[str, list[tuple[Report, ResultEntry]]] = field(default_factory=lambda: defaultdict(list))
    """What counts, by the peer's name in the reports; under `node` and the like what is not about a peer."""
    causes: list[_Cause] = field(default_factory=list)
    """The causes of which at least one result still counts."""
    explained: dict[tuple[str, str], _Cause] = field(default_factory=dict)
    """The most fundamental cause of each result, by the run and the result's id."""
    replaced: int = 0


def merge(
    reports: Sequence[Report],
    names: Mapping[str, str] = MappingProxyType({}),
    holes: Sequence[Hole] = (),
    sites: Mapping[str, str] = MappingProxyType({}),
) -> Matrix:
    """Combine the reports of many nodes.

    Overlay addresses identify a node; its name is the one that the others use. Of several reports of a node the later
    counts for each check and peer. names: of nodes by their addresses, if they are known. holes: nodes that were asked
    and gave no report. sites: of nodes that share an uplink, by name. Raises ValueError for two nodes that cannot be
    distinguished.
    """
    members = _members(reports, names)
    views: dict[tuple[str, str], list[View]] = defaultdict(list)
    for member in members:
        for peer, called in member.peers.items():
            views[member.name, called].extend(_view(member, peer, "forward"))
            views[called, member.name].extend(_view(member, peer, "reverse"))
    ways = tuple(_way(*ends, found) for ends, found in sorted(views.items()) if found)
    nodes = tuple(sorted((_node(member) for member in members), key=lambda node: node.name))
    known = {node.name for node in nodes}
    silent = tuple(sorted({called for member in members for called in member.peers.values()} - known))
    told = [each for member in members for each in _told(member)]
    return Matrix(
        nodes=nodes,
        silent=silent,
        ways=ways,
        findings=find_causes(ways, told, {node.name: node.causes for node in nodes}, sites),
        left_out=tuple(_left_out(member) for member in members if member.replaced),
        holes=tuple(holes),
        sites=dict(sites),
    )


def _members(reports: Iterable[Report], known: Mapping[str, str]) -> list[_Member]:
    own: dict[str, list[Report]] = defaultdict(list)
    for report in sorted(reports, key=lambda report: report.run.started_at, reverse=True):
        own[_identity(report)].append(report)
    names = _names({identity: several[0] for identity, several in own.items()}, own)
    names |= {identity: known[address] for identity in own for address in identity.split() if address in known}
    by_address = {address: name for identity, name in names.items() for address in identity.split()}
    members = [_Member(names[identity], several) for identity, several in own.items()]
    if twice := [name for name, count in Counter(member.name for member in members).items() if count > 1]:
        raise ValueError(f"two nodes are called {twice[0]!r} and no overlay address distinguishes them")
    for member in members:
        _join(member, by_address)
    return members


def _join(member: _Member, by_address: dict[str, str]) -> None:
    """Take from each report what no later one says of the same peer and check."""
    taken: dict[tuple[str, str], Report] = {}
    for report in member.reports:
        counted: set[str] = set()
        known = by_id(report)
        for peer in report.run.peers:
            member.peers.setdefault(peer.target, by_address.get(peer.address, peer.target))
        for result in report.results:
            if taken.setdefault((result.target, result.check), report) is report:
                member.results[result.target].append((report, result))
                counted.add(result.id)
            else:
                member.replaced += 1
        for entry in report.diagnosis:
            if counted.intersection(entry.explains):
                cause = _Cause(entry, _status(entry, known), _host(report, entry))
                member.causes.append(cause)
                for id in entry.explains:
                    member.explained.setdefault((report.run.id, id), cause)


def _status(entry: CauseEntry, known: Mapping[str, ResultEntry]) -> StatusName:
    status = status_of(entry, known)
    return next(each for each in WORST_FIRST if each == status)


def _host(report: Report, entry: CauseEntry) -> str | None:
    """On which part of the way it died; None if that is not known."""
    if entry.place is None:
        return None
    stations = [station for way in report.ways if way.id == entry.place.way for station in way.stations]
    return next((each.host for each in stations if each.id == entry.place.station and each.state == "died"), None)


def _identity(report: Report) -> str:
    """The node's overlay addresses; its host name if it has none."""
    return " ".join(sorted(_own_addresses(report))) or report.run.node.hostname


def _own_addresses(report: Report) -> list[str]:
    addresses = report.run.overlay.addresses if report.run.overlay else ()
    return [str(ip_interface(address).ip) for address in addresses]


def _names(latest: dict[str, Report], own: dict[str, list[Report]]) -> dict[str, str]:
    """Each node's name by identity: the one that most others use."""
    called: dict[str, Counter[str]] = defaultdict(Counter)
    for reports in own.values():
        for peer in {(peer.address, peer.target) for report in reports for peer in report.run.peers}:
            called[peer[0]][peer[1]] += 1
    names = {}
    for identity, report in latest.items():
        votes = sum((called[address] for address in identity.split() if address in called), Counter[str]())
        names[identity] = votes.most_common(1)[0][0] if votes else report.run.node.hostname
    return names


def _view(member: _Member, peer: str, direction: DirectionName) -> Iterator[View]:
    """What this node knows of one direction to or from a peer; nothing if it measured nothing there."""
    known = [
        each for report, result in member.results.get(peer, ()) for each in _say(member, report, result, direction)
    ]
    if not known:
        return
    status, code, message, result = min(
        known, key=lambda each: (WORST_FIRST.index(each[0]), each[3].direction == "round-trip")
    )
    yield View(
        by=member.name,
        direction=direction if result.direction == "local" else result.direction,
        status=status,
        code=code,
        message=message,
        result=result.id,
        received=any(each[0] in ("pass", "warn") and each[3].direction == direction for each in known),
    )


def _say(member: _Member, report: Report, result: ResultEntry, direction: DirectionName) -> Iterator[_Known]:
    """What one result says of a direction.

    A reachability check that was not run because of a cause says what the cause says: nothing reaches the peer either.
    """
    cause = member.explained.get((report.run.id, result.id))
    if result.category not in _ABOUT_PATH or not _concerns(result, direction, cause):
        return
    if result.status == "skip":
        if cause is not None and result.category == _REACH:
            yield cause.status, cause.entry.code, cause.entry.message, result
    elif result.status != "pass" or result.category in SENDING:
        yield result.status, result.code, result.message, result


def _concerns(result: ResultEntry, direction: DirectionName, cause: _Cause | None) -> bool:
    """Whether a result says something of this direction.

    What is bad about a round trip is about the one direction that its cause names; a good one is about both.
    """
    if result.direction in _BACK:
        return result.direction == direction
    if cause is not None and result.status != "pass" and cause.entry.direction in _BACK:
        return cause.entry.direction == direction
    return result.direction == "round-trip" or result.status != "pass"


def _way(source: str, target: str, views: Sequence[View]) -> Way:
    dead = {view.by for view in views if view.status in BROKEN}
    heard = {view.by for view in views if view.received and view.status not in BROKEN}
    return Way(
        source=source,
        target=target,
        status=worst([view.status for view in views]),
        contradiction=bool(dead and heard),
        views=tuple(views),
    )


def _node(member: _Member) -> Node:
    latest = member.reports[0]
    own = [
        OwnCause(
            code=cause.entry.code,
            status=cause.status,
            target=cause.entry.target,
            message=cause.entry.message,
            remedies=tuple(labelled(cause.entry)),
        )
        for cause in member.causes
        if cause.entry.target not in member.peers
    ]
    return Node(
        name=member.name,
        hostname=latest.run.node.hostname,
        addresses=tuple(_own_addresses(latest)),
        reports=len(member.reports),
        latest=latest.run.started_at.isoformat(timespec="seconds"),
        causes=tuple(own),
    )


def _told(member: _Member) -> Iterator[Told]:
    """The node's causes at its peers, in the names of the matrix."""
    for cause in member.causes:
        entry = cause.entry
        if entry.target not in member.peers:
            continue
        peer = member.peers[entry.target]
        there, back = (member.name, peer), (peer, member.name)
        source, target = back if entry.direction == "reverse" else there
        yield Told(
            by=member.name,
            peer=peer,
            ends={"forward": there, "reverse": back}.get(entry.direction),
            code=entry.code,
            message=entry.message,
            remedies=tuple(labelled(entry)),
            at={"sender": source, "receiver": target}.get(cause.at or ""),
        )


def _left_out(member: _Member) -> str:
    several = number_of("reports", len(member.reports))
    return f"{member.name}: {several}; {number_of('results', member.replaced)} replaced by later ones"
