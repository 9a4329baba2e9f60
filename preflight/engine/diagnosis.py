"""From results to ranked root causes: pure.

Bad results about the same thing become one candidate. A candidate lower in the stack explains those above it where a
rule says that it can and the measurements do not contradict it; what nothing explains stays a cause of its own. Nothing
is invented: a cause's message is the message of a result that it lists.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from preflight.api import CONTROL, NODE, Code, Direction, Result, Status
from preflight.model.facts import EnrolmentStepFacts, MtuFacts, ReversePathFilterFacts, TunnelMtuFacts

SEVERITY = (Status.FAIL, Status.ERROR, Status.WARN, Status.INCONCLUSIVE)
"""What is bad, the worst first."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One root cause; `explains` holds result ids, its own first."""

    code: Code
    message: str
    target: str
    direction: Direction
    remedy: str | None
    explains: tuple[str, ...]


Evidence = Callable[[Result, Result], bool]
"""Whether what was measured of a cause and of an effect lets the one account for the other."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Results whose code matches `cause` account for those whose code matches one of `effects`.

    where: `same` = about the same target; `node` = the cause is this node's, so it reaches every target; `all` = the
    same, though a peer's result tells it; `control` = the same target, or the control plane when the cause's target
    hosts it. evidence: what must hold for each result of the effect, with one of the cause at least.
    """

    cause: str
    effects: tuple[str, ...]
    where: str = "same"
    evidence: Evidence | None = None


_PADDING_BYTES = 16
"""WireGuard fills up to a multiple of it, so a path may carry so much less than a packet that fits."""
_BY_ECHO = ("reach.icmp", "mtu.echo")


def _same_way(cause: Result, effect: Result) -> bool:
    """What ails one direction accounts for nothing that was measured in the other."""
    return {cause.direction, effect.direction} != {Direction.FORWARD, Direction.REVERSE}


def _unanswered(_: Result, effect: Result) -> bool:
    """Who answers a request, if only to refuse it, was reached."""
    return not isinstance(effect.facts, EnrolmentStepFacts) or effect.facts.http_status is None


def _as_much_as_fits(cause: Result, effect: Result) -> bool:
    """A path that carries less than the right MTU of the tunnel has a fault besides a wrong one."""
    carried = effect.facts.mtu_bytes if isinstance(effect.facts, MtuFacts) else None
    fits = cause.facts.fits_bytes if isinstance(cause.facts, TunnelMtuFacts) else None
    return carried is None or fits is None or carried > fits - _PADDING_BYTES


def _of_the_silent(cause: Result, effect: Result) -> bool:
    """Drops are counted for the node as a whole: only a peer that stayed silent meanwhile can have lost any."""
    silent = cause.facts.silent_peers if isinstance(cause.facts, ReversePathFilterFacts) else None
    return effect.target == CONTROL or silent is None or effect.target in silent


def _by_echo(_: Result, effect: Result) -> bool:
    """Other privileges than that for ICMP are missing for reasons of their own."""
    return effect.check in _BY_ECHO


_PATH = ("reach.*", "mtu.*", "udp.*", "run.needs-responder")
_DROPPED = (
    *(f"reach.{how}" for how in ("unreachable", "no-forward", "no-reverse", "loss", "asymmetric")),
    "udp.blocked",
    "udp.loss",
    "run.needs-responder",
)
_SILENT = ("control.unreachable", "control.timeout", "control.slow", "control.address-family")
# A host that refuses was reached: it takes another host, or a firewall, to refuse in its place.
_CONTROL_PATH = (*_SILENT, "control.refused")
_OTHER_SERVER = tuple(
    f"control.{how}"
    for how in ("tls-failed", "tls-untrusted", "tls-name", "not-populi", "redirected", "unhealthy", "throttled")
)
_NOT_AS_PROMISED = tuple(
    f"control.{how}" for how in ("not-populi", "redirected", "unhealthy", "bad-answer", "throttled")
)
_ENROL_REQUESTS = tuple(
    f"enroll.{step}" for step in ("join-failed", "heartbeat-failed", "lease-failed", "leave-failed")
)
_ENROL_STEPS = ("enroll.join-failed", "enroll.heartbeat-failed", "enroll.not-listed", "enroll.lease-failed")
_ENDED = ("run.timeout", "run.interrupted", "run.no-answer")

RULES: tuple[Rule, ...] = (
    # This node's own state, before anything that leaves it.
    Rule("overlay.absent", ("overlay.*", *_PATH, *_CONTROL_PATH, "control.url-off-overlay", "run.needs-peers"), "node"),
    *(
        Rule(cause, ("overlay.*", *_PATH, *_CONTROL_PATH, "run.needs-peers", "control.dns-*"), "node")
        for cause in (
            "overlay.down",
            "overlay.daemon-down",
            "overlay.no-address",
            "overlay.logged-out",
            "overlay.key-expired",
            "overlay.not-authorized",
        )
    ),
    Rule("overlay.subnet-conflict", ("host.rp-filter", *_CONTROL_PATH), "all"),
    Rule("overlay.subnet-conflict", ("overlay.*", *_PATH)),
    # Only what is long: small packets pass whatever the MTU is.
    Rule("overlay.mtu-too-big", ("mtu.*", "control.timeout", "control.tls-failed"), "node", _as_much_as_fits),
    Rule("overlay.mtu-too-big", _ENROL_REQUESTS, "node", _unanswered),
    Rule("overlay.mtu-too-small", ("mtu.below-minimum",), "node"),
    Rule("host.no-raw-socket", ("run.needs-privilege",), "node", _by_echo),
    Rule("host.rp-filter", (*_DROPPED, *_SILENT), "node", _of_the_silent),
    Rule("host.captive-portal", (*_CONTROL_PATH, *_OTHER_SERVER, "control.dns-*", "overlay.no-handshake"), "node"),
    Rule("host.proxy-env", (*_CONTROL_PATH, *_OTHER_SERVER), "node"),
    *(Rule(cause, _ENROL_REQUESTS, "node") for cause in ("host.captive-portal", "host.proxy-env")),
    Rule("host.clock-unsynced", ("control.clock-skew", "control.tls-expired", "control.tls-not-yet-valid"), "node"),
    # The tunnel to one peer.
    Rule("overlay.route-leak", ("host.rp-filter",), "all"),
    Rule("overlay.route-leak", ("overlay.no-handshake", "overlay.handshake-stale", *_PATH, *_CONTROL_PATH), "control"),
    Rule("overlay.endpoint-loop", ("overlay.*", *_PATH, *_SILENT), "control"),
    Rule("overlay.allowed-ips", ("overlay.no-handshake", *_PATH, *_SILENT), "control"),
    Rule("overlay.duplicate-*", ("overlay.no-handshake", "overlay.handshake-stale", *_PATH, *_CONTROL_PATH), "control"),
    Rule("overlay.no-handshake", ("overlay.no-keepalive", *_PATH, *_SILENT, *_ENDED), "control"),
    Rule("overlay.handshake-stale", ("overlay.no-keepalive", *_PATH, *_SILENT, *_ENDED), "control"),
    Rule("overlay.no-keepalive", ("udp.nat-timeout",)),
    Rule("overlay.relayed", ("udp.jitter", "control.slow", "mtu.reduced"), "control"),
    # The path to one peer.
    Rule("host.firewall-drop", (*_PATH, *_CONTROL_PATH), "control"),
    *(
        Rule(cause, ("reach.unreachable", "reach.loss", "reach.asymmetric", "mtu.*", "udp.*", *_SILENT), "control")
        for cause in ("reach.no-forward", "reach.no-reverse")
    ),
    Rule("reach.unreachable", ("reach.loss", "mtu.*", "udp.*", *_SILENT), "control"),
    # What was found by ICMP alone is no matter of UDP.
    Rule("udp.blocked", ("udp.*", "run.needs-responder")),
    # The packets that tell loss are small: they pass a black hole.
    Rule("mtu.black-hole", ("mtu.*",), "control", _same_way),
    Rule("mtu.black-hole", ("control.timeout", "control.tls-failed"), "control"),
    Rule("mtu.black-hole", _ENROL_REQUESTS, "control", _unanswered),
    Rule("udp.loss", ("reach.loss", "control.slow"), "control", _same_way),
    # The way to the control plane, in the order in which a client takes it.
    # Resolvers that disagree explain the address off the overlay, so they stand before it.
    Rule("control.dns-split", ("control.url-off-overlay", "control.plain-http", *_CONTROL_PATH, *_OTHER_SERVER)),
    *(Rule(cause, ("control.*",)) for cause in ("control.url-*", "control.dns-nxdomain", "control.dns-timeout")),
    *(
        Rule(cause, ("control.timeout", "control.tls-failed", "control.unhealthy", "control.slow"))
        for cause in ("control.address-family", "control.refused", "control.unreachable", "control.timeout")
    ),
    Rule("control.clock-skew", ("control.tls-expired", "control.tls-not-yet-valid")),
    *(
        Rule(f"control.{how}", _ENROL_REQUESTS, evidence=_unanswered)
        for how in ("dns-*", "url-*", "address-family", "refused", "unreachable", "timeout", "tls-*")
    ),
    *(Rule(cause, ("control.slow", "control.throttled", *_ENROL_REQUESTS)) for cause in _NOT_AS_PROMISED),
    # Whoever asked the control plane for something was left without an answer, this node's clock check too.
    *(Rule(cause, ("run.no-answer",), "all") for cause in (*_CONTROL_PATH, *_NOT_AS_PROMISED)),
    # Beyond the way: what was answered, about tokens, nodes and posture, is as it was answered.
    *(Rule(cause, _ENROL_STEPS) for cause in ("enroll.scope-mismatch", "enroll.bootstrap-*", "enroll.unauthorized")),
    Rule("nodes.quarantined", ("enroll.lease-failed",)),
    Rule("posture.open", ("posture.route-open", "posture.role-too-strong")),
)

_BENEATH: Mapping[str, tuple[str, ...]] = {
    "host.rp-filter": ("overlay.route-leak", "overlay.subnet-conflict"),
    "reach.loss": ("udp.loss",),
    "enroll.lease-failed": ("nodes.quarantined",),
}
"""What lies deeper than its layer says: a route that leads astray, on either side, is what makes this node's strict
filter drop; loss that is known by its direction is what loses echoes too; and what gets no lease, by its own record."""

LAYERS = ("host", "overlay", "reach", "mtu", "udp", "control", "enroll", "posture", "nodes", "run")


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    code: Code
    target: str
    status: Status
    results: tuple[Result, ...]
    place: int


def diagnose(results: Iterable[Result], control_host: str | None = None) -> tuple[Cause, ...]:
    """Rank the root causes behind all bad results.

    control_host: target name of the peer that hosts the control plane, if one does: what breaks the way to it
    explains what happens to the control plane.
    """
    everything = tuple(results)
    candidates = _candidates(everything)
    reach = _Reach(candidates, control_host)
    explained_by = {effect: causes for effect in candidates if (causes := reach.explainers(effect))}
    effects: dict[_Candidate, list[_Candidate]] = {}
    for effect, causes in explained_by.items():
        for cause in causes:
            effects.setdefault(cause, []).append(effect)
    blocked: dict[str, list[str]] = {}
    for result in everything:
        if result.blocked_by is not None:
            blocked.setdefault(result.blocked_by, []).append(result.id)
    roots = sorted((c for c in candidates if c not in explained_by), key=_rank)
    return tuple(_cause(root, _explained(root, effects), blocked) for root in roots)


class _Reach:
    """Which candidates may explain which, looked up by target: a mesh of hundreds of peers has thousands of them."""

    def __init__(self, candidates: Iterable[_Candidate], control_host: str | None) -> None:
        self._control_host = control_host
        self._by_target: dict[str, list[_Candidate]] = {}
        self._anywhere: list[_Candidate] = []
        for candidate in candidates:
            self._by_target.setdefault(candidate.target, []).append(candidate)
            if any(rule.where == "all" and fnmatchcase(candidate.code.slug, rule.cause) for rule in RULES):
                self._anywhere.append(candidate)

    def explainers(self, effect: _Candidate) -> list[_Candidate]:
        """The candidates that are deeper and account for this one."""
        targets = [effect.target, NODE]
        if effect.target == CONTROL and self._control_host is not None:
            targets.append(self._control_host)
        near = [candidate for target in dict.fromkeys(targets) for candidate in self._by_target.get(target, ())]
        return [
            cause
            for cause in dict.fromkeys([*near, *self._anywhere])
            if _deeper(cause, effect) and _explains(cause, effect, self._control_host)
        ]


def _candidates(results: tuple[Result, ...]) -> list[_Candidate]:
    """Bad results grouped by code and target, in the order in which they came."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.status in SEVERITY and result.code is not None:
            groups.setdefault((result.code.slug, result.target), []).append(result)
    return [
        _Candidate(
            code=group[0].code,
            target=group[0].target,
            status=min((result.status for result in group), key=SEVERITY.index),
            results=tuple(group),
            place=place,
        )
        for place, group in enumerate(groups.values())
        if group[0].code is not None
    ]


def _explains(cause: _Candidate, effect: _Candidate, control_host: str | None) -> bool:
    # What is milder never excuses what is worse, and what is undecided explains nothing.
    if cause.status is Status.INCONCLUSIVE or SEVERITY.index(cause.status) > SEVERITY.index(effect.status):
        return False
    return any(
        _reaches(rule, cause, effect, control_host) and _borne_out(rule, cause, effect)
        for rule in _rules_between(cause.code.slug, effect.code.slug)
    )


@cache
def _rules_between(cause: str, effect: str) -> tuple[Rule, ...]:
    """The rules by which one code accounts for another."""
    return tuple(
        rule
        for rule in RULES
        if fnmatchcase(cause, rule.cause) and any(fnmatchcase(effect, pattern) for pattern in rule.effects)
    )


def _reaches(rule: Rule, cause: _Candidate, effect: _Candidate, control_host: str | None) -> bool:
    if cause.target == effect.target or rule.where == "all" or (rule.where == "node" and cause.target == NODE):
        return True
    return rule.where == "control" and effect.target == CONTROL and cause.target == control_host


def _borne_out(rule: Rule, cause: _Candidate, effect: _Candidate) -> bool:
    evidence = rule.evidence
    return evidence is None or all(any(evidence(one, other) for one in cause.results) for other in effect.results)


def _deeper(cause: _Candidate, effect: _Candidate) -> bool:
    if cause.code.slug in _BENEATH.get(effect.code.slug, ()):
        return effect.code.slug != "host.rp-filter" or effect.target == NODE
    return _depth(cause) < _depth(effect)


def _rank(candidate: _Candidate) -> tuple[int, int, int, bool, int]:
    """Failures before breakage before warnings before the undecided; the deeper first, then as they came."""
    return SEVERITY.index(candidate.status), *_depth(candidate), candidate.place


def _depth(candidate: _Candidate) -> tuple[int, int, bool]:
    """Layer, then place in the table: only what is deeper explains, so no two causes explain each other.

    Of one code the peer's finding is deeper than the control plane's: it lies on the way, or it is the same.
    """
    return *_layer(candidate.code), candidate.target == CONTROL


@cache
def _layer(code: Code) -> tuple[int, int]:
    place = next((i for i, rule in enumerate(RULES) if fnmatchcase(code.slug, rule.cause)), len(RULES))
    return LAYERS.index(code.area) if code.area in LAYERS else len(LAYERS), place


def _explained(root: _Candidate, effects: Mapping[_Candidate, Sequence[_Candidate]]) -> list[_Candidate]:
    """What goes back to this root, directly or through what it explains; itself first."""
    found = {root}
    todo = [root]
    while todo:
        fresh = [effect for effect in effects.get(todo.pop(), ()) if effect not in found]
        found.update(fresh)
        todo += fresh
    return [root, *sorted(found - {root}, key=_rank)]


def _cause(root: _Candidate, explained: list[_Candidate], blocked: Mapping[str, Sequence[str]]) -> Cause:
    """blocked: ids of the results that each failed result keeps from being measured."""
    bad = [result.id for candidate in explained for result in candidate.results]
    worst = [result for result in root.results if result.status is root.status]
    # The directions of one check belong together; what another check says of the same is a repetition.
    telling = [result for result in worst if result.check == worst[0].check]
    return Cause(
        code=root.code,
        message="; ".join(dict.fromkeys(result.message for result in telling)),
        target=root.target,
        direction=_direction(worst),
        remedy="\n".join(dict.fromkeys(result.remedy for result in telling if result.remedy)) or None,
        explains=tuple(dict.fromkeys([*bad, *(id for failure in bad for id in blocked.get(failure, ()))])),
    )


def _direction(results: list[Result]) -> Direction:
    """The same fault in both directions is one cause, `round-trip`."""
    directions = {result.direction for result in results}
    return directions.pop() if len(directions) == 1 else Direction.ROUND_TRIP
