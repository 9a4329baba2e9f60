"""Which finding it is when the control plane did not answer as the contract says: one table, pure."""

from dataclasses import dataclass, replace

from preflight import codes
from preflight.codes import Code
from preflight.model.control import ControlError, HttpAnswer, NotHttpError
from preflight.model.facts import DeathFacts
from preflight.model.remedy import Remedies, by_hand, look
from preflight.proto.control.gateways import passed_through
from preflight.proto.control.url import ControlUrl

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, THROTTLED, SERVER_ERROR = 401, 403, 404, 429, 500
TRANSPORT: dict[str, Code] = {
    "no-url": codes.CONTROL_URL_INVALID,
    "dns": codes.CONTROL_DNS_TIMEOUT,
    "refused": codes.CONTROL_REFUSED,
    "unreachable": codes.CONTROL_UNREACHABLE,
    "timeout": codes.CONTROL_TIMEOUT,
    "tls": codes.CONTROL_TLS_FAILED,
    "protocol": codes.CONTROL_UNHEALTHY,
    "foreign": codes.CONTROL_NOT_POPULI,
    "redirected": codes.CONTROL_REDIRECTED,
    "exposed": codes.CONTROL_PLAIN_HTTP,
}
CUT, KEPT_ALIVE, RESET, NOT_JSON, CACHED, LIMIT = "cut short", "kept-alive", "reset", "JSON", "cached", "limit"
"""Problems of an answer, or of the connection in its place."""
_PROBLEMS = {
    CUT: codes.CONTROL_BAD_ANSWER,
    KEPT_ALIVE: codes.CONTROL_BAD_ANSWER,
    RESET: codes.CONTROL_CONNECTION_RESET,
    NOT_JSON: codes.CONTROL_BAD_ANSWER,
    CACHED: codes.CONTROL_BAD_ANSWER,
    LIMIT: codes.CONTROL_THROTTLED,
}
ANSWERED = (
    codes.CONTROL_THROTTLED,
    codes.CONTROL_BAD_ANSWER,
    codes.CONTROL_CONNECTION_RESET,
    codes.ENROLL_UNAUTHORIZED,
    codes.ENROLL_FORBIDDEN,
)
FINDINGS: tuple[Code, ...] = tuple(dict.fromkeys((*TRANSPORT.values(), *ANSWERED)))
"""Every code that `finding` may give; a check that reads an answer declares them."""

_TOKEN = "control: {token_file: worker.token}   # in preflight.yaml"  # noqa: S105 - where one goes, not one
_LIST = "GET /v1/populi/nodes"
_JOURNAL = "journalctl -u preflight-control-plane -n 50"
MORE_BURST = by_hand("Raise VOX_MESH_HTTP_RATE_LIMIT_BURST on the server.", where="control host")
GATEWAY_LIMIT = by_hand(
    "Raise the limit of requests a client of the gateway in front of the control plane.", where="control host"
)
"""The real server has no limiter: its gateway has."""
TOO_LONG = "header too large"
LONGER_HEADERS = by_hand(
    "Raise the limit of request headers in the gateway in front of the control plane: in nginx, "
    "large_client_header_buffers 4 32k.",
    where="control host",
)
PATH_CHANGED = "path changed"
CHANGES_PATH = "something in front of it changes the path"
KEEP_PATH = by_hand(
    "Let the gateway in front of the control plane hand the path on as it is: in nginx, proxy_pass with nothing behind "
    "the port, not even a slash.",
    where="control host",
)
BOTH_SLASHES = by_hand(
    "Let the gateway in front of the control plane take the slash away with the prefix: in nginx, location and "
    "proxy_pass end both with a slash, as in location /mesh/ { proxy_pass http://127.0.0.1:9847/; }.",
    where="control host",
)
KEEP_NOTHING = by_hand(
    "Let the gateway in front of the control plane keep no answer: in nginx, proxy_cache off in the location of "
    "/v1/populi/.",
    where="control host",
)
PASS_THROUGH = by_hand(
    "Pass /v1/populi/ through to the control plane unchanged, or point the control URL directly at it.",
    where="control host",
)
READ_JOURNAL = look(_JOURNAL, where="control host", root=True)
_REMEDIES = {
    codes.ENROLL_UNAUTHORIZED: by_hand(f"{_TOKEN}; or VOX_MESH_TOKEN"),
    codes.ENROLL_FORBIDDEN: by_hand(
        "Put a worker's or the mesh token of this cluster, not a submitter's, where this node's bearer comes from: "
        "VOX_MESH_TOKEN, or the file of control.token_file."
    ),
    codes.CONTROL_THROTTLED: MORE_BURST,
    codes.CONTROL_UNHEALTHY: READ_JOURNAL,
    codes.CONTROL_BAD_ANSWER: look(
        f"{_JOURNAL}   # on the control host: what answers there?", where="control host", root=True
    ),
    codes.CONTROL_PLAIN_HTTP: by_hand(
        "Point the control URL at the control plane's overlay address, or at an https URL."
    ),
    codes.CONTROL_REDIRECTED: by_hand(
        "Point the control URL at the control plane itself, not at what redirects to it."
    ),
}


_STATIONS = {
    codes.CONTROL_URL_INVALID: "parse",
    codes.CONTROL_PLAIN_HTTP: "route",
    codes.CONTROL_DNS_TIMEOUT: "name",
    codes.CONTROL_REFUSED: "connect",
    codes.CONTROL_UNREACHABLE: "connect",
    codes.CONTROL_TIMEOUT: "connect",
    codes.CONTROL_CONNECTION_RESET: "connect",
    codes.CONTROL_TLS_FAILED: "tls",
    codes.CONTROL_THROTTLED: "answer",
    codes.CONTROL_BAD_ANSWER: "answer",
    codes.ENROLL_UNAUTHORIZED: "bearer",
    codes.ENROLL_FORBIDDEN: "bearer",
}
"""Where a request died, by what is said about it; everything else is about who answered."""


def station_of(code: Code) -> str:
    """The station of the way of a request that a finding is about."""
    return _STATIONS.get(code, "server")


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, as a message, and what to do about it. decided: the facts by which; station: where it died."""

    code: Code
    message: str
    remedies: Remedies
    decided: DeathFacts = DeathFacts()
    station: str = "server"


def finding(error: ControlError, url: ControlUrl | None) -> Finding:
    """The finding for an error. Credentials are judged only where the control plane itself refused them."""
    code = code_of(error)
    decided = error.decided if error.status is None else replace(error.decided, http_status=error.status)
    if error.decided.problem == TOO_LONG:
        return Finding(code, f"{error.message}: the bearer is longer than it allows", LONGER_HEADERS, decided)
    if error.decided.problem == CACHED:
        return Finding(code, error.message, KEEP_NOTHING, decided, "answer")
    if _lost_its_path(error):
        message = f"{error.message}, by a control plane, which has this path: {CHANGES_PATH}"
        return Finding(code, message, KEEP_PATH, replace(decided, problem=PATH_CHANGED))
    gateway = decided.server if error.by_control_plane and code is codes.ENROLL_UNAUTHORIZED else None
    remedies = _REMEDIES.get(code) or look(look_at(url))
    if code is codes.CONTROL_THROTTLED and not error.by_control_plane:
        remedies = GATEWAY_LIMIT
    return Finding(
        code,
        error.message + (taken_out(gateway) if gateway else ""),
        past(gateway) if gateway else remedies,
        decided,
        error.station or station_of(code),
    )


def outdated(asked: str, answer: HttpAnswer) -> ControlError:
    """What a cache kept of an earlier request: it says nothing about now, nor about this request's bearer."""
    server = passed_through(answer)
    message = (
        f"{asked} was answered {answer.status} with what {server or 'something in front of the control plane'} has "
        "cached of an earlier request, so the control plane did not see this one"
    )
    return ControlError("protocol", answer.status, message, decided=DeathFacts(problem=CACHED, server=server))


def _lost_its_path(error: ControlError) -> bool:
    """Whether a control plane does not know the path of its list of nodes, which every one has."""
    return error.status == NOT_FOUND and error.by_control_plane and f"{_LIST} was answered" in error.message


def taken_out(gateway: str) -> str:
    """What a 401 may mean too, where a gateway handed the request on."""
    return (
        f"; the request came through {gateway}: the token is not known there, or {gateway} takes it out or changes it"
    )


def past(gateway: str) -> Remedies:
    """How to see whether the gateway takes the bearer out."""
    line = "curl -si -H @bearer.hdr http://127.0.0.1:9847/v1/populi/nodes"
    sentence = f"If that lists the nodes, let {gateway} hand the Authorization header on; else another token is needed."
    return look(f"{line}   # there, past {gateway}, with this node's bearer", sentence, where="control host")


def look_at(url: ControlUrl | None) -> str:
    """The command that shows what answers at the control URL."""
    return f"curl -si --max-time 15 {url or 'CONTROL-URL'}/health"


def code_of(error: ControlError) -> Code:
    """The finding's code: no answer, an answer of something else, a refusal, or an answer that breaks the contract."""
    status = error.status
    if error.decided.problem in _PROBLEMS:
        return _PROBLEMS[error.decided.problem]
    if status is None:
        return codes.CONTROL_NOT_POPULI if isinstance(error, NotHttpError) else TRANSPORT[error.kind]
    if status == THROTTLED:
        return codes.CONTROL_THROTTLED
    if status >= SERVER_ERROR:
        return codes.CONTROL_UNHEALTHY
    refusals = {UNAUTHORIZED: codes.ENROLL_UNAUTHORIZED, FORBIDDEN: codes.ENROLL_FORBIDDEN}
    return refusals.get(status, codes.CONTROL_BAD_ANSWER)
