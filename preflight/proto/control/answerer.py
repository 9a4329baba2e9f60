"""Who answered a request, and what that says about the way to the control plane; pure.

A control plane is known by its feature header, which its errors have too. A server that answers without it is named by
its own words. The place to which a redirect leads is named, and no bearer follows there.
"""

from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from preflight import codes
from preflight.model.control import HttpAnswer
from preflight.model.facts import DeathFacts
from preflight.model.printable import excerpt
from preflight.model.remedy import Remedies, by_hand, look
from preflight.proto.control.answers import (
    BOTH_SLASHES,
    CHANGES_PATH,
    FORBIDDEN,
    GATEWAY_LIMIT,
    KEEP_PATH,
    MORE_BURST,
    NOT_FOUND,
    PASS_THROUGH,
    PATH_CHANGED,
    READ_JOURNAL,
    SERVER_ERROR,
    THROTTLED,
    UNAUTHORIZED,
    Finding,
    look_at,
)
from preflight.proto.control.gateways import page_for_people, server_name
from preflight.proto.control.http import LONGEST_WAIT_S, REDIRECTION, redirect_base, retry_after_s
from preflight.proto.control.populi import FEATURE_HEADER, HEALTHY, is_populi, shown
from preflight.proto.control.url import ControlUrl, parse_control_url

HEALTH = "GET /health"
OWN = (HEALTHY, UNAUTHORIZED, FORBIDDEN)
"""How a control plane answers to a request for its list without a bearer, open or not."""
BACKEND = (502, 503, 504, *range(520, 525))
"""What a gateway says of the server behind it; 520 to 524 are Cloudflare's."""
BAD_REQUEST, UNAVAILABLE = 400, 503
_WITH_RULES = ("nginx", "HAProxy", "Apache", "Caddy", "Traefik", "Envoy")
"""Who has lists of clients that may pass."""
_WHAT_IS_SENT = look(
    "See what the gateway in front of the control plane sends to it: HAProxy's send-proxy puts a line before requests.",
    where="control host",
)
COMPRESSED = "compressed"
_NOT_COMPRESSED = by_hand(
    "Let the gateway in front of the control plane compress nothing that no client asked to be: in nginx, gzip off.",
    where="control host",
)
_WITHOUT_LOGIN = by_hand(
    "Let what is in front of the control plane hand /health and /v1/populi/ on without a login, or point the control "
    "URL directly at the control plane: workers send a bearer, and no user and password.",
    where="control host",
)
_WITHOUT_BACKEND = ("HAProxy", "Envoy", "Traefik", "Caddy", "Apache", "AWS load balancer")
"""Who answers 503 where no server behind it can be reached; others do it for other reasons too."""
_READ_NGINX = look(
    "nginx -T | grep -nE 'return 503|limit_(req|conn)'; tail -n 20 /var/log/nginx/error.log",
    where="control host",
    root=True,
)


def answered_for(answer: HttpAnswer) -> str:
    """What is said of `/health` where the API is a control plane's, and that answer another server's."""
    server = server_name(answer) or "another server"
    return f"; these are answers of its API without a bearer, for {HEALTH} is answered {answer.status} by {server}"


def only_health_dies(found: Finding, bad: HttpAnswer) -> Finding | None:
    """Where a gateway has no living server for `/health`, and hands the API on; None for any other answer."""
    if bad.status not in BACKEND:
        return None
    server = server_name(bad) or "the gateway in front of it"
    message = (
        f"{_said(HEALTH, bad, quoting=False)}{_by(bad)}, and a control plane answers on its API behind it: only for "
        f"/health {server} has no answer of it"
    )
    line = f"Let {server} send /health to the same server as /v1/populi/."
    return replace(found, message=message, remedies=by_hand(line, where="control host"))


def keeping_a_slash(found: Finding, url: ControlUrl) -> Finding:
    """Where a gateway takes the prefix of the URL away, and not the slash behind it."""
    message = (
        f"GET {url.path}/health reaches a control plane as //health: the gateway in front of it takes the prefix "
        f"{url.path} away, and not the slash behind it"
    )
    return replace(found, message=message, remedies=BOTH_SLASHES)


def asked_to_wait(answer: HttpAnswer) -> float | None:
    """The time that a server asks for, seconds."""
    return retry_after_s(answer.headers.get("retry-after"), answer.headers.get("date"), answer.received_unix_s)


def says_too_many(answer: HttpAnswer) -> bool:
    """429, and what nginx says by default to more requests than it allows; others say 503 without a server behind."""
    without = answer.status != UNAVAILABLE or is_populi(answer) or server_name(answer) in _WITHOUT_BACKEND
    return answer.status == THROTTLED or not without


def strange(asked: str, answer: HttpAnswer, url: ControlUrl | None) -> Finding:
    """What is wrong with an answer that is not the expected one. asked: method and path, without the URL's own path."""
    status = answer.status
    if is_populi(answer) and answer.headers.get("content-encoding", "identity") not in ("", "identity"):
        return _compressed(asked, answer)
    if status == THROTTLED:
        return _throttled(asked, answer)
    if status // 100 == REDIRECTION:
        return _redirected(asked, answer, url)
    if status >= SERVER_ERROR:
        return _failing(asked, answer)
    if is_populi(answer):
        return _refused(asked, answer, url)
    return _another(asked, answer, url)


def right_url(answer: HttpAnswer, url: ControlUrl | None, asked: str) -> ControlUrl | None:
    """The control URL that a redirect to TLS on the same host shows; None for every other place."""
    if url is None or answer.status // 100 != REDIRECTION:
        return None
    target = parse_control_url(_base(asked, answer, url))
    same = isinstance(target, ControlUrl) and target.host == url.host
    return target if isinstance(target, ControlUrl) and same and target.scheme == "https" else None


def _compressed(asked: str, answer: HttpAnswer) -> Finding:
    coded = excerpt(answer.headers["content-encoding"])
    message = (
        f"{_said(asked, answer, quoting=False)} by a control plane, but {COMPRESSED} ({coded}), which nobody asked for"
    )
    return Finding(codes.CONTROL_BAD_ANSWER, message, _NOT_COMPRESSED, _facts(answer, problem=COMPRESSED), "answer")


def _throttled(asked: str, answer: HttpAnswer) -> Finding:
    message = f"{_said(asked, answer)}{_by(answer)}{_asks_to_wait(answer)}"
    remedies = MORE_BURST if is_populi(answer) else GATEWAY_LIMIT
    return Finding(codes.CONTROL_THROTTLED, message, remedies, _facts(answer), "answer")


def _asks_to_wait(answer: HttpAnswer) -> str:
    wait = asked_to_wait(answer)
    more = " or more" if wait == LONGEST_WAIT_S else ""
    return f", asking to wait {wait:g} s{more}" if wait is not None else ""


def _redirected(asked: str, answer: HttpAnswer, url: ControlUrl | None) -> Finding:
    base = _base(asked, answer, url)
    message = f"{_said(asked, answer, quoting=False)}{_by(answer)}, a redirect to {base}"
    if not answer.headers.get("location"):
        message = f"{_said(asked, answer)}{_by(answer)}, a redirect without a Location, so it leads nowhere"
        return Finding(codes.CONTROL_REDIRECTED, message, PASS_THROUGH, _facts(answer, location=base))
    remedies: Remedies = by_hand(f"Point the control URL at the control plane, not at {base}.")
    if _adds_a_slash(asked, answer, url):
        message = (
            f"{_said(asked, answer, quoting=False)}{_by(answer)}, a redirect to the same path with a slash behind it, "
            "which no route of a control plane has, and clients follow no redirect"
        )
        return Finding(codes.CONTROL_REDIRECTED, message, PASS_THROUGH, _facts(answer, location=base))
    if right_url(answer, url, asked) is not None:
        message += ", which is TLS on the same host, and clients follow no redirect"
        remedies = look(f"curl -si --max-time 15 {base}/health   # if a control plane answers, it is the right URL")
    else:
        message += "; a worker must not send its bearer there"
    return Finding(codes.CONTROL_REDIRECTED, message, remedies, _facts(answer, location=base))


def _adds_a_slash(asked: str, answer: HttpAnswer, url: ControlUrl | None) -> bool:
    """Whether a redirect leads back to the same place, except for a slash: the URL is right, and the gateway is not."""
    if url is None:
        return False
    own = f"{url}{asked.partition(' ')[2]}"
    return urljoin(own, answer.headers.get("location", "")) == f"{own}/"


def _failing(asked: str, answer: HttpAnswer) -> Finding:
    if is_populi(answer):
        message = f"{_said(asked, answer)}, by the control plane itself{_asks_to_wait(answer)}"
        return Finding(codes.CONTROL_UNHEALTHY, message, READ_JOURNAL, _facts(answer))
    server = server_name(answer)
    message = f"{_said(asked, answer)}{_by(answer)}{_asks_to_wait(answer)}"
    if answer.status in BACKEND and (answer.status != UNAVAILABLE or server in _WITHOUT_BACKEND):
        message += ": the server behind it, the control plane, does not answer it"
    elif answer.status == UNAVAILABLE and server == "nginx":
        message += ": so it answers during maintenance, and to more requests or connections than it allows"
        return Finding(codes.CONTROL_UNHEALTHY, message, _READ_NGINX, _facts(answer))
    return Finding(codes.CONTROL_UNHEALTHY, message, READ_JOURNAL, _facts(answer))


def _refused(asked: str, answer: HttpAnswer, url: ControlUrl | None) -> Finding:
    """A control plane, and not the answer of the contract: most often the path is not the one that it knows."""
    message = f"{_said(asked, answer)}, by a control plane"
    # The health route is open to all: who is refused there asks for another path.
    elsewhere = answer.status == NOT_FOUND or (asked == HEALTH and answer.status in (UNAUTHORIZED, FORBIDDEN))
    if elsewhere and url is not None and url.path:
        problem = f"prefix {url.path}"
        message += f", which does not know this path: nothing takes the {problem} of the control URL away before it"
        return Finding(codes.CONTROL_BAD_ANSWER, message, look(look_at(url)), _facts(answer, problem=problem))
    if elsewhere and asked == HEALTH:
        message += f", which refuses nobody there: {CHANGES_PATH}, or its method"
        return Finding(codes.CONTROL_BAD_ANSWER, message, KEEP_PATH, _facts(answer, problem=PATH_CHANGED))
    if asked == HEALTH and answer.status == BAD_REQUEST:
        message += ", to a request that is right: something in front of it puts more before or into it"
        return Finding(codes.CONTROL_BAD_ANSWER, message, _WHAT_IS_SENT, _facts(answer, problem="request changed"))
    return Finding(codes.CONTROL_BAD_ANSWER, message, look(look_at(url)), _facts(answer), "answer")


def _another(asked: str, answer: HttpAnswer, url: ControlUrl | None) -> Finding:
    server = server_name(answer) or "no Server header"
    page = page_for_people(answer)
    what = f", {page}" if page else ""
    message = (
        f"{_said(asked, answer, quoting=page is None)}{what} without the header {FEATURE_HEADER}: that is another "
    )
    message += f"server ({server})"
    if answer.status == FORBIDDEN and page is None and server_name(answer) in _WITH_RULES:
        message += f", or {server} itself refuses this node by a rule"
    if asked == HEALTH and answer.status == HEALTHY and answer.body.strip() == b"ok":
        message += ", or it takes that header out of a control plane's answers, which are: ok"
    remedies = look(f"{look_at(url)}   # a control plane answers: ok")
    if page is not None:
        remedies = _WITHOUT_LOGIN
    elif asked != HEALTH:
        remedies = PASS_THROUGH
    return Finding(codes.CONTROL_NOT_POPULI, message, remedies, _facts(answer))


def _base(asked: str, answer: HttpAnswer, url: ControlUrl | None) -> str:
    """Where a redirect leads, with the host of the URL where it names none; the text is a stranger's."""
    path = f"{url.path if url else ''}{asked.partition(' ')[2]}"
    base = redirect_base(answer.headers.get("location", ""), path)
    if url is not None and base.startswith("/") and not urlsplit(base).netloc:
        base = f"{url.scheme}://{url.authority}{base}"
    return excerpt(base)


def _said(asked: str, answer: HttpAnswer, *, quoting: bool = True) -> str:
    text = shown(answer.body, ()) if quoting else ""
    return f"{asked} was answered {answer.status}" + (f" {text!r}" if text else "")


def _by(answer: HttpAnswer) -> str:
    if is_populi(answer):
        return " by the control plane"
    server = server_name(answer)
    return f" by {server}, without the header {FEATURE_HEADER}" if server else f" without the header {FEATURE_HEADER}"


def _facts(answer: HttpAnswer, *, location: str | None = None, problem: str | None = None) -> DeathFacts:
    server = None if is_populi(answer) else server_name(answer)
    return DeathFacts(http_status=answer.status, server=server, location=location, problem=problem)
