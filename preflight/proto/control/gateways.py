"""Who answers in the place of a control plane: gateways by their own words, as data, and pages for people; pure."""

import re
from dataclasses import dataclass, field

from preflight.model.control import HttpAnswer
from preflight.model.printable import excerpt

_NAME_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Gateway:
    """How one kind of gateway is known. headers: pattern of a header's value; body: pattern of its own pages."""

    name: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = r"(?!)"


GATEWAYS = (
    Gateway("Cloudflare", {"server": "cloudflare", "cf-ray": ".", "cf-mitigated": "."}, "Cloudflare Ray ID|/cdn-cgi/"),
    Gateway("nginx", {"server": "nginx|openresty"}, r"<center>(nginx|openresty)"),
    Gateway("Caddy", {"server": "Caddy", "via": "Caddy"}),
    Gateway(
        "Envoy",
        {"server": "envoy|istio", "x-envoy-upstream-service-time": "."},
        r"upstream connect error|no healthy upstream",
    ),
    Gateway(
        "HAProxy",
        {"server": "HAProxy"},
        r"<html><body><h1>\d{3} [^<]{3,40}</h1>\s*("  # its pages of errors, which have no other mark
        r"No server is available to handle this request|Your browser sent an invalid request"
        r"|You need a valid user and password|Request forbidden by administrative rules"
        r"|The resource (could not be found|is no longer available)|A request was made of a resource"
        r"|Your browser didn't send a complete request|The request entity exceeds the maximum allowed"
        r"|You have sent too many requests|An internal server error occurred"
        r"|The server (returned an invalid or incomplete response|didn't respond in time))",
    ),
    Gateway("Traefik", {"server": "Traefik"}),
    Gateway("Apache", {"server": "Apache"}, r"<address>Apache"),
    Gateway("Squid", {"server": "squid", "x-squid-error": ".", "via": "squid"}),
    Gateway("Varnish", {"server": "Varnish", "via": "varnish"}),
    Gateway("AWS load balancer", {"server": "awselb"}),
    Gateway("Google Front End", {"server": "gws|Google Frontend", "via": "1.1 google"}),
    Gateway("Microsoft IIS", {"server": "Microsoft-IIS|Microsoft-HTTPAPI"}),
)
_TRAEFIK = {404: b"404 page not found", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout"}
"""Traefik has no header of its own and answers with these texts alone."""
_TOO_LARGE = (431, 494)
"""The standard's status, and nginx' own."""
_FORM = re.compile(rb"<form|type=.?password|sign.?in|log.?in|single sign-on", re.IGNORECASE)
_CHALLENGE = re.compile(rb"captcha|challenge-|checking your browser|just a moment", re.IGNORECASE)


def server_name(answer: HttpAnswer) -> str | None:
    """What kind of server wrote an answer: a gateway that is known, else its own name for itself, None without one."""
    text = answer.body.decode("utf-8", "replace")
    for gateway in GATEWAYS:
        named = any(
            re.search(pattern, answer.headers.get(name, ""), re.IGNORECASE) for name, pattern in gateway.headers.items()
        )
        if named or re.search(gateway.body, text):
            return gateway.name
    own = answer.headers.get("server", "").strip()
    if not own and answer.body.strip() == _TRAEFIK.get(answer.status, b"-"):
        return "Traefik"
    return excerpt(own, _NAME_SHOWN) or None


def passed_through(answer: HttpAnswer) -> str | None:
    """The gateway that handed a control plane's answer on, as far as it writes its name into it."""
    for gateway in GATEWAYS:
        for name, pattern in gateway.headers.items():
            if re.search(pattern, answer.headers.get(name, ""), re.IGNORECASE):
                return gateway.name
    return None


def header_too_large(answer: HttpAnswer) -> bool:
    """Whether a gateway refuses a request for the size of its headers, of which the bearer is the longest."""
    return answer.status in _TOO_LARGE or (
        answer.status == 400 and b"header or cookie too large" in answer.body.lower()
    )


def page_for_people(answer: HttpAnswer) -> str | None:
    """What a page wants of a person: a login or the proof that it is one; None if it is no such page."""
    if answer.headers.get("www-authenticate") and answer.status in (401, 407):
        return "a demand for a user and a password"
    if _CHALLENGE.search(answer.body) or "cf-mitigated" in answer.headers:
        return "a challenge page"
    is_page = "html" in answer.headers.get("content-type", "") or answer.body.lstrip()[:1] == b"<"
    if is_page and answer.status // 100 == 2 and _FORM.search(answer.body):
        return "a login page"
    return None


def holds_back(usual_ms: float) -> str:
    """What is said of it."""
    return (
        f"; requests that follow each other at once are held back by a limit on the way, to about "
        f"{1000 / usual_ms:.1f} a second"
    )
