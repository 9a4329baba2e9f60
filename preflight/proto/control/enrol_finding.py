"""What it means that a step of an enrolment failed: the finding, its station, its sentence and its remedies; pure."""

from collections.abc import Mapping

from preflight import codes
from preflight.codes import Code
from preflight.model.change import NamedValue
from preflight.model.control import ControlError
from preflight.model.enrolment import EnrolmentFacts
from preflight.model.fix import BearerFromWorkerToken, Environment, Setting, WorkersLine
from preflight.model.measurement import Measurement
from preflight.model.remedy import Remedies, by_hand, heal, look
from preflight.proto.control.answers import (
    CACHED,
    GATEWAY_LIMIT,
    KEEP_NOTHING,
    LONGER_HEADERS,
    PASS_THROUGH,
    TOO_LONG,
    code_of,
    past,
    taken_out,
)
from preflight.proto.control.enroll import Outcome, Step
from preflight.proto.control.own_row import State
from preflight.proto.control.token_finding import NEW_ONE_TIME_TOKEN, ONE_CONTROL_PLANE, SEVERAL, SEVERAL_SAID
from preflight.proto.way.stations import Station, request

STRIPPED, USED_UP = "stripped", "used up"
BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, TOO_LARGE, UNAVAILABLE = 400, 401, 403, 404, 413, 503
_WAY = (codes.CONTROL_TIMEOUT, codes.CONTROL_REFUSED, codes.CONTROL_UNREACHABLE)
"""What the bootstrap exchange, the first request, shows about the path."""
_NOT_ITS_ANSWER = (codes.CONTROL_NOT_POPULI, codes.CONTROL_REDIRECTED, codes.CONTROL_BAD_ANSWER)
"""The answer is not from the control plane or breaks its contract: no step and no token is to blame."""
BOOTSTRAP = {
    401: codes.ENROLL_BOOTSTRAP_INVALID,
    404: codes.ENROLL_BOOTSTRAP_DISABLED,
    410: codes.ENROLL_BOOTSTRAP_SPENT,
    503: codes.ENROLL_BOOTSTRAP_DISABLED,
}
STEP_FAILED = {
    Step.JOIN: codes.ENROLL_JOIN_FAILED,
    Step.HEARTBEAT: codes.ENROLL_HEARTBEAT_FAILED,
    Step.LISTED: codes.ENROLL_NOT_LISTED,
    Step.LEASE: codes.ENROLL_LEASE_FAILED,
    Step.LEAVE: codes.ENROLL_LEAVE_FAILED,
}
_ABOUT_BODIES = (400, 413, 415, 422)
_STATIONS: Mapping[Code, Station] = {
    **dict.fromkeys(BOOTSTRAP.values(), Station("token", kind="token")),
    codes.ENROLL_UNAUTHORIZED: request("bearer"),
    codes.ENROLL_FORBIDDEN: request("bearer"),
    codes.ENROLL_SCOPE_MISMATCH: request("scope"),
    codes.CONTROL_BAD_ANSWER: request("answer"),
    codes.CONTROL_THROTTLED: request("answer"),
    codes.CONTROL_UNHEALTHY: request("server"),
    codes.CONTROL_NOT_POPULI: request("server"),
    codes.CONTROL_REDIRECTED: request("server"),
}
_PLACE = "control.token_file"
_REMEDIES: Mapping[Code, Remedies] = {
    codes.CONTROL_THROTTLED: GATEWAY_LIMIT,
    codes.ENROLL_BOOTSTRAP_DISABLED: by_hand(
        f"{NEW_ONE_TIME_TOKEN}   # on the control host; then restart it with that token", where="control host"
    ),
    codes.ENROLL_BOOTSTRAP_INVALID: by_hand(
        "Ask the issuer for the token again, and do not try another: on some servers a wrong token invalidates the "
        "right one.",
        where="control host",
    ),
    codes.ENROLL_BOOTSTRAP_SPENT: by_hand(
        f"{NEW_ONE_TIME_TOKEN}   # on the control host: each token buys one credential", where="control host"
    ),
    codes.ENROLL_SCOPE_MISMATCH: look(
        "grep VOX_MESH_SCOPE_ID /etc/preflight/*.env   # or control_plane.scope_id: what nodes must carry",
        where="control host",
    ),
    codes.CONTROL_NOT_POPULI: PASS_THROUGH,
    codes.CONTROL_REDIRECTED: PASS_THROUGH,
    codes.ENROLL_NOT_LISTED: by_hand(
        "Unset VOX_MESH_SERVER_STALE_PRUNE_MS on the control host, or raise it above the heartbeat interval.",
        where="control host",
    ),
}
_MESH_TOKEN = by_hand(
    "Set VOX_MESH_TOKEN in the control plane's environment, for that is what a one-time token buys; give it a new "
    "one-time token too, because some servers have spent this one, and restart it.",
    where="control host",
)
_PASS_BEARERS_ON = by_hand(
    "Let the proxy in front of the control plane hand the Authorization header on; in nginx, remove a line "
    "proxy_set_header Authorization.",
    where="control host",
)
_LARGER_BODIES = by_hand(
    "export VOX_MESH_HTTP_MAX_BODY_BYTES=524288   # in the control plane's environment; then restart it",
    where="control host",
)
_LARGER_BODIES_IN_FRONT = by_hand(
    "Raise the limit of bodies in the gateway in front of the control plane, in nginx client_max_body_size 1m.",
    where="control host",
)

_PASS_BODIES_ON = by_hand(
    "Let the proxy in front of the control plane hand the bodies of requests on; in nginx, remove a line "
    "proxy_pass_request_body off.",
    where="control host",
)


def code_of_step(outcome: Outcome) -> Code:
    """The finding of a failed step: the path comes before credentials and scope, and both before the step itself."""
    error = outcome.error
    if outcome.problem == "scope-mismatch":
        return codes.ENROLL_SCOPE_MISMATCH
    if error is None:
        return STEP_FAILED.get(outcome.step, codes.CONTROL_UNHEALTHY)
    if outcome.transitions and outcome.transitions[-1].state is State.STORE:
        return codes.ENROLL_BOOTSTRAP_SPENT
    answered = code_of(error)
    if answered is codes.CONTROL_THROTTLED and error.by_control_plane:
        answered = codes.CONTROL_UNHEALTHY  # to one who waited as long as an enrolment takes
    if answered is codes.CONTROL_THROTTLED:
        return answered
    if outcome.step is Step.BOOTSTRAP:
        own = None if later(error) else BOOTSTRAP.get(error.status or 0)
        return own or (answered if answered in (*_WAY, *_NOT_ITS_ANSWER) else codes.CONTROL_UNHEALTHY)
    if outcome.step is Step.LISTED:
        return answered  # the list could not be read, so it is not known whether the node is on it
    if outcome.step is Step.LEASE and error.status is not None:
        return codes.ENROLL_LEASE_FAILED  # the same bearer was good for the steps before
    if answered is codes.CONTROL_BAD_ANSWER and error.kind == "status":
        return STEP_FAILED[outcome.step]  # an explicit refusal, not an unreadable answer
    refused = (codes.ENROLL_UNAUTHORIZED, codes.ENROLL_FORBIDDEN)
    # For leave only the node that stays listed matters, whatever the reason.
    telling = refused if outcome.step is Step.LEAVE else (*refused, *_NOT_ITS_ANSWER)
    return answered if answered in telling else STEP_FAILED[outcome.step]


def later(error: ControlError) -> bool:
    """Whether a 503 asks to come again, instead of saying that the control plane has no mesh token to give."""
    asks = error.retry_after_s is not None or "database" in error.message or not error.by_control_plane
    return error.status == 503 and asks


def station_of(outcome: Outcome, code: Code) -> Station | None:
    """Where the request died; None where nothing shows it."""
    status = outcome.error.status if outcome.error is not None else None
    if code in STEP_FAILED.values() and status is not None:
        return request("body" if status in _ABOUT_BODIES else "answer")
    if code in STEP_FAILED.values() and status_of(outcome) is not None:
        return request("server")
    return _STATIONS.get(code)


def status_of(outcome: Outcome) -> int | None:
    """Of the answer that failed the step, a control plane's or another's."""
    error = outcome.error
    return None if error is None else error.status if error.status is not None else error.decided.http_status


def problem_of(outcome: Outcome, code: Code, facts: EnrolmentFacts) -> str | None:
    """What decides where the code does not say it: the bearer that a moment ago was bought is refused at once."""
    if outcome.error is not None and outcome.error.decided.problem == CACHED:
        return CACHED
    if facts.several:
        return SEVERAL
    refused = code is codes.ENROLL_UNAUTHORIZED and outcome.error is not None
    return STRIPPED if refused and facts.bought and outcome.step is Step.JOIN else None


def fields_of(outcome: Outcome, code: Code, facts: EnrolmentFacts) -> dict[str, Measurement]:
    """The deciding fields other than the status."""
    found: dict[str, Measurement] = {}
    if (problem := problem_of(outcome, code, facts)) is not None:
        found["problem"] = problem
    if code is codes.ENROLL_SCOPE_MISMATCH and facts.scope_id is not None:
        found["scope_id"] = facts.scope_id
    if code is codes.ENROLL_UNAUTHORIZED and not facts.has_token and facts.only_for_workers is not None:
        found["variable"] = facts.only_for_workers
    return found


def remedies_of(outcome: Outcome, code: Code, facts: EnrolmentFacts) -> Remedies:
    """What to do about a failed step."""
    if code is codes.ENROLL_LEAVE_FAILED:
        # Through a gateway that takes it, the row would stay too.
        foreign = outcome.error is not None and code_of(outcome.error) in _NOT_ITS_ANSWER
        first = ONE_CONTROL_PLANE if facts.several else PASS_THROUGH if foreign else ()
        return first + by_hand(leave_later(facts))
    if outcome.error is not None and outcome.error.status == TOO_LARGE:
        return _LARGER_BODIES if outcome.error.by_control_plane else _LARGER_BODIES_IN_FRONT
    if outcome.error is not None and outcome.error.decided.problem == CACHED:
        return KEEP_NOTHING
    if _lost_body(outcome):
        return _PASS_BODIES_ON
    if outcome.error is not None and outcome.error.decided.problem == TOO_LONG:
        return LONGER_HEADERS
    if facts.several:
        return ONE_CONTROL_PLANE
    if code is codes.ENROLL_BOOTSTRAP_DISABLED and outcome.error is not None and outcome.error.status == UNAVAILABLE:
        return _MESH_TOKEN
    if code is codes.ENROLL_SCOPE_MISMATCH and (other := _other_scope(facts)):
        return other
    if code in (codes.ENROLL_UNAUTHORIZED, codes.ENROLL_FORBIDDEN):
        return _right_bearer(outcome, code, facts)
    not_handed_on = outcome.error is not None and later(outcome.error) and not outcome.error.by_control_plane
    what = f"curl -si {facts.url}/health; journalctl -u preflight-control-plane -n 50   # there"
    return _REMEDIES.get(code) or (PASS_THROUGH if not_handed_on else look(what, where="control host"))


def _right_bearer(outcome: Outcome, code: Code, facts: EnrolmentFacts) -> Remedies:
    """The bearer is refused: the place that has a good one, the gateway that takes it out, or a new one."""
    if code is codes.ENROLL_UNAUTHORIZED and problem_of(outcome, code, facts) is not None:
        return _PASS_BEARERS_ON
    if code is codes.ENROLL_UNAUTHORIZED and not facts.has_token and facts.only_for_workers is not None:
        return heal(BearerFromWorkerToken, lasting="VOX_MESH_TOKEN in the environment of the worker's unit")
    if code is codes.ENROLL_UNAUTHORIZED and facts.hidden is not None:
        return facts.hidden[1]
    if code is codes.ENROLL_UNAUTHORIZED and (gateway := _gateway(outcome)) is not None:
        return past(gateway)
    return new_bearer(facts.bearer_place)


def _right_scope(facts: EnrolmentFacts) -> str | None:
    """The scope of this cluster: that of the credential, or the one that all its nodes were let in with."""
    listed = facts.listed_scope if facts.listed_scope != facts.scope_id else None
    return facts.foreign_scope or listed


def new_bearer(place: str) -> Remedies:
    """Another token is needed, and only the control host has it."""
    sentence = f"Put a token for workers of this cluster into {place or _PLACE}; the control host has it."
    return by_hand(sentence, where="control host")


def _other_scope(facts: EnrolmentFacts) -> Remedies:
    """Change the scope where it really comes from; nothing where the right one is not known."""
    if (line := facts.unread_scope) is not None:
        return heal(lambda: WorkersLine(file=str(line.path.absolute()), name=line.name))
    scope_id, source = _right_scope(facts), facts.scope_file
    if scope_id is None:
        return ()
    if source is not None:
        return heal(lambda: Setting(file=source, key="control.scope_id", value=scope_id))
    return heal(lambda: Environment(variables=(NamedValue("VOX_MESH_SCOPE_ID", scope_id),)))


def complaint(outcome: Outcome, facts: EnrolmentFacts) -> str:
    """The sentence of a failed step."""
    said = outcome.error.message if outcome.error else ""
    said += f"; {outcome.ended_by}" if outcome.ended_by else ""
    again = f" after {outcome.attempts} attempts" if outcome.attempts > 1 else ""
    if outcome.problem == "scope-mismatch" and facts.several:
        letter = f"the join was accepted in the scope {facts.scope_id!r}, and a moment later that is refused"
        return f"{outcome.step} failed{again}: {said}; {letter}, so {SEVERAL} answer at this URL, each with its scope"
    if outcome.problem == "scope-mismatch":
        return _about_scope(facts, said)
    if outcome.problem == "not-listed":
        lacks = f"{facts.identity} joined and sent heartbeats, but the list of {facts.node_count} lacks it"
        return f"{lacks}; in another answer it has it, so {SEVERAL} answer at this URL" if facts.several else lacks
    if facts.several and row_is_unknown(outcome):
        differ = f"answers at one moment have different rows of {facts.identity}, so {SEVERAL} answer at this URL"
        return f"{outcome.step} failed{again}: {said}; {differ}"
    if outcome.step is Step.BOOTSTRAP:
        return f"the bootstrap exchange failed{again}: {said}{_fate(outcome)}"
    cached = outcome.error is not None and outcome.error.decided.problem == CACHED
    if outcome.error is not None and outcome.error.status == UNAUTHORIZED and not cached:
        return _unauthorized(outcome, facts, said, again)
    if _lost_body(outcome):
        return f"{outcome.step} failed{again}: {said}; what this node sent is JSON, so a proxy on the way took it out"
    return f"{outcome.step} failed{again}: {said}"


def row_is_unknown(outcome: Outcome) -> bool:
    """Whether a control plane says that it does not know the row, or the lease, that it has given a moment ago."""
    error = outcome.error
    if error is None or not error.by_control_plane or outcome.step not in (Step.LEASE, Step.LEAVE):
        return False
    return error.status in (NOT_FOUND, FORBIDDEN)


def _lost_body(outcome: Outcome) -> bool:
    """Whether the control plane itself says that what came is not JSON: a row that this node sends always is."""
    error = outcome.error
    if error is None or error.status != BAD_REQUEST or not error.by_control_plane:
        return False
    return outcome.step in (Step.JOIN, Step.HEARTBEAT) and "json" in error.message.lower()


def _about_scope(facts: EnrolmentFacts, said: str) -> str:
    # In quotes: the comparison is exact, and a blank at the end counts.
    own = f"{facts.scope_id!r}" if facts.scope_id else "(none set)"
    if facts.foreign_scope is not None:
        return (
            f"the bootstrap token gave a credential for the scope {facts.foreign_scope!r}, but this node is set to "
            f"{own}; it did not join, for scopes are compared to the letter"
        )
    if facts.unread_scope is not None:
        line = facts.unread_scope
        return f"this node carries no scope id: {line.path} {line.said}; the control plane refuses that: {said}"
    right = _right_scope(facts)
    others = f"; the nodes that it lists carry {right!r}" if right is not None else ""
    return f"the control plane refuses the scope {own} of this node, which it compares to the letter{others}: {said}"


def _unauthorized(outcome: Outcome, facts: EnrolmentFacts, said: str, again: str) -> str:
    if not facts.has_token and facts.only_for_workers is not None:
        return (
            f"no bearer was sent: this node's only token is in {facts.only_for_workers}, and workers send "
            f"VOX_MESH_TOKEN alone; the control plane requires a bearer: {said}"
        )
    if not facts.has_token:
        return f"no token is set, but the control plane requires one: {said}"
    if facts.several:
        return f"{outcome.step} failed{again}: {said}{SEVERAL_SAID}"
    if problem_of(outcome, codes.ENROLL_UNAUTHORIZED, facts) is not None:
        return (
            "the control plane gave this bearer for the one-time token a moment ago, and answers as if none came: a "
            f"proxy on the way takes the Authorization header out, so it is {STRIPPED}: {said}"
        )
    if facts.hidden is not None:
        return f"{outcome.step} failed{again}: {said}{facts.hidden[0]}"
    gateway = _gateway(outcome)
    return f"{outcome.step} failed{again}: {said}{taken_out(gateway) if gateway else ''}"


def _gateway(outcome: Outcome) -> str | None:
    """Through whom the control plane's own answer came."""
    error = outcome.error
    return error.decided.server if error is not None and error.by_control_plane else None


def _fate(outcome: Outcome) -> str:
    """What happened to the one-time token."""
    error = outcome.error
    if error is not None and later(error) and not outcome.lost_answer:
        return "; nothing was spent: the same token can be used again"
    if not outcome.lost_answer:
        return ""
    if error is not None and error.status == 410:
        return (
            "; the answer to an earlier attempt of this run was lost; a server without idempotency keys has spent the "
            "token on it"
        )
    return (
        "; an answer was lost, so the token may be spent: run the same command again soon, which repeats the exchange "
        "with the same idempotency key"
    )


def leave_later(facts: EnrolmentFacts) -> str:
    """The command that removes the row of this run."""
    if facts.written_down is not None:
        return facts.written_down.clean_line
    return (
        f"curl -sS -H @bearer.hdr -H 'content-type: application/json' -d '{{\"id\":\"{facts.identity}\"}}' "
        f"{facts.url}/v1/populi/leave"
    )
