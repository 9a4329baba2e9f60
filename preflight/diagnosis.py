"""From results to ranked root causes: pure.

Bad results about the same thing become one candidate. A candidate lower in the stack explains those above it where a
rule says that it can; what nothing explains stays a cause of its own. Nothing is invented: a cause's message is the
message of a result that it lists.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from preflight.api import CONTROL, NODE, Code, Direction, Result, Status

BAD = (Status.FAIL, Status.WARN, Status.ERROR, Status.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Cause:
    """One root cause; `explains` holds result ids, its own first."""

    code: Code
    message: str
    target: str
    direction: Direction
    remedy: str | None
    explains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Results whose code matches `cause` account for those whose code matches one of `effects`.

    where: `same` = about the same target; `node` = the cause is this node's, so it reaches every target; `all` = the
    same, though a peer's result tells it; `control` = the same target, or the control plane when the cause's target
    hosts it.
    """

    cause: str
    effects: tuple[str, ...]
    where: str = "same"


_PATH = ("reach.*", "mtu.*", "udp.*", "run.needs-responder")
_CONTROL_PATH = ("control.unreachable", "control.timeout", "control.refused", "control.slow", "control.address-family")
_BEYOND_CONTROL = ("enroll.*", "nodes.*", "posture.*")
_ENROL_REQUESTS = tuple(
    f"enroll.{step}" for step in ("join-failed", "heartbeat-failed", "lease-failed", "leave-failed")
)
_ENDED = ("run.timeout", "run.interrupted")

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
    Rule("overlay.subnet-conflict", ("overlay.*", *_PATH, *_CONTROL_PATH, "host.rp-filter"), "all"),
    Rule("overlay.mtu-too-big", ("mtu.*", "udp.*", "reach.loss", *_CONTROL_PATH, "control.tls-failed"), "node"),
    Rule("host.no-raw-socket", ("run.needs-privilege",), "node"),
    Rule("host.rp-filter", (*_PATH, *_CONTROL_PATH), "node"),
    Rule("host.captive-portal", ("control.*", *_BEYOND_CONTROL, "overlay.no-handshake"), "node"),
    Rule("host.proxy-env", ("control.*", *_BEYOND_CONTROL), "node"),
    Rule("host.clock-unsynced", ("control.clock-skew", "control.tls-expired", "control.tls-not-yet-valid"), "node"),
    # The tunnel to one peer.
    Rule("overlay.route-leak", ("host.rp-filter",), "all"),
    Rule("overlay.route-leak", ("overlay.no-handshake", "overlay.handshake-stale", *_PATH, *_CONTROL_PATH), "control"),
    Rule("overlay.endpoint-loop", ("overlay.*", *_PATH, *_CONTROL_PATH), "control"),
    Rule("overlay.allowed-ips", ("overlay.no-handshake", *_PATH, *_CONTROL_PATH), "control"),
    Rule("overlay.duplicate-*", ("overlay.no-handshake", "overlay.handshake-stale", *_PATH, *_CONTROL_PATH), "control"),
    Rule("overlay.no-handshake", ("overlay.no-keepalive", *_PATH, *_CONTROL_PATH, *_ENDED), "control"),
    Rule("overlay.handshake-stale", ("overlay.no-keepalive", *_PATH, *_CONTROL_PATH, *_ENDED), "control"),
    Rule("overlay.relayed", ("udp.jitter", "control.slow", "mtu.reduced"), "control"),
    # The path to one peer.
    Rule("host.firewall-drop", (*_PATH, *_CONTROL_PATH), "control"),
    *(
        Rule(
            cause, ("reach.unreachable", "reach.loss", "reach.asymmetric", "mtu.*", "udp.*", *_CONTROL_PATH), "control"
        )
        for cause in ("reach.no-forward", "reach.no-reverse")
    ),
    Rule("reach.unreachable", ("reach.loss", "mtu.*", "udp.*", *_CONTROL_PATH), "control"),
    Rule("udp.blocked", ("udp.*", "mtu.*", "run.needs-responder")),
    Rule(
        "mtu.black-hole",
        ("mtu.*", "udp.loss", "reach.loss", "control.timeout", "control.tls-failed", *_ENROL_REQUESTS),
        "control",
    ),
    Rule("mtu.reduced", ("udp.loss", "reach.loss", "control.slow"), "control"),
    Rule("udp.loss", ("reach.loss", "control.slow"), "control"),
    # The way to the control plane, in the order in which a client takes it.
    # Resolvers that disagree explain the address off the overlay, so they stand before it.
    Rule("control.dns-split", ("control.*", *_BEYOND_CONTROL)),
    Rule("control.url-*", ("control.*", *_BEYOND_CONTROL)),
    Rule("control.dns-*", ("control.*", *_BEYOND_CONTROL)),
    *(
        Rule(cause, ("control.timeout", "control.tls-*", "control.unhealthy", "control.slow", *_BEYOND_CONTROL))
        for cause in ("control.address-family", "control.refused", "control.unreachable", "control.timeout")
    ),
    Rule("control.clock-skew", ("control.tls-expired", "control.tls-not-yet-valid")),
    *(
        Rule(f"control.tls-{how}", _BEYOND_CONTROL)
        for how in ("expired", "not-yet-valid", "untrusted", "name", "failed")
    ),
    *(
        Rule(cause, ("control.slow", "control.throttled", *_BEYOND_CONTROL))
        for cause in ("control.not-populi", "control.redirected", "control.unhealthy", "control.throttled")
    ),
    Rule("control.plain-http", ("posture.*",)),
    Rule("enroll.scope-mismatch", ("enroll.*",)),
    Rule("enroll.bootstrap-*", ("enroll.*",)),
    Rule("enroll.unauthorized", ("enroll.*", "nodes.*")),
    Rule("nodes.quarantined", ("enroll.lease-failed", "enroll.forbidden")),
    Rule("posture.open", ("posture.*",)),
)

_BENEATH_THE_FILTER = ("overlay.route-leak", "overlay.subnet-conflict")
"""A route that leads astray, on either side, is what makes this node's strict filter drop: it lies deeper than that."""

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
        if result.status in BAD and result.code is not None:
            groups.setdefault((result.code.slug, result.target), []).append(result)
    order = [Status.FAIL, Status.ERROR, Status.WARN, Status.INCONCLUSIVE]
    return [
        _Candidate(
            code=group[0].code,
            target=group[0].target,
            status=min((result.status for result in group), key=order.index),
            results=tuple(group),
            place=place,
        )
        for place, group in enumerate(groups.values())
        if group[0].code is not None
    ]


def _explains(cause: _Candidate, effect: _Candidate, control_host: str | None) -> bool:
    # A warning never excuses a failure, and what is undecided explains nothing.
    if cause.status is Status.INCONCLUSIVE or (cause.status is Status.WARN and effect.status is Status.FAIL):
        return False
    return any(
        _reaches(rule, cause, effect, control_host) for rule in _rules_between(cause.code.slug, effect.code.slug)
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


def _deeper(cause: _Candidate, effect: _Candidate) -> bool:
    if effect.code.slug == "host.rp-filter" and cause.code.slug in _BENEATH_THE_FILTER:
        return effect.target == NODE
    return _depth(cause) < _depth(effect)


def _rank(candidate: _Candidate) -> tuple[int, int, int, bool, int]:
    """Failures before breakage before warnings before the undecided; the deeper first, then as they came."""
    severity = [Status.FAIL, Status.ERROR, Status.WARN, Status.INCONCLUSIVE].index(candidate.status)
    return severity, *_depth(candidate), candidate.place


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
