"""Gateways are known by their own words, and pages for people by what they ask."""

import pytest

from preflight.model.control import HttpAnswer
from preflight.proto.control.gateways import header_too_large, page_for_people, passed_through, server_name


def answered(status: int = 200, body: bytes = b"", **headers: str) -> HttpAnswer:
    """An answer; names of headers with `_` for `-`."""
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, 1.0, 0.0, 0.0)


def haproxy(title: str, words: str) -> bytes:
    """A page of HAProxy 2.6, as it writes it."""
    return f"<html><body><h1>{title}</h1>\n{words}\n</body></html>\n".encode()


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (answered(502, b"<html><center>nginx/1.22.1</center>"), "nginx"),
        (answered(404, server="openresty/1.21"), "nginx"),
        (answered(403, server="Caddy"), "Caddy"),
        (answered(502, b"upstream connect error or disconnect/reset before headers", server="envoy"), "Envoy"),
        (
            answered(503, haproxy("503 Gone", "No server is available to handle this request.")),
            "HAProxy",
        ),
        (answered(403, haproxy("403 Forbidden", "Request forbidden by administrative rules.")), "HAProxy"),
        (answered(404, haproxy("404 Not Found", "The resource could not be found.")), "HAProxy"),
        (answered(404, b"<p>The resource could not be found."), None),
        (answered(502, server="Caddy"), "Caddy"),
        (answered(404, b"404 page not found\n"), "Traefik"),
        (answered(200, b"404 page not found\n"), None),
        (answered(403, server="cloudflare", cf_ray="8a-FRA"), "Cloudflare"),
        (answered(503, b"<title>Attention</title> Cloudflare Ray ID: 8a"), "Cloudflare"),
        (answered(503, server="squid/5.7", x_squid_error="ERR_CONNECT_FAIL 111"), "Squid"),
        (answered(200, server="Werkzeug/3.0 Python/3.11"), "Werkzeug/3.0 Python/3.11"),
        (answered(200, server="evil\x1b[2J" + "x" * 100), None),
        (answered(404), None),
    ],
)
def test_who_it_is(answer: HttpAnswer, name: str | None) -> None:
    """By its header or by its own page; else by its own name for itself, printable and short; else unknown."""
    found = server_name(answer)
    if found is not None and name is None:
        assert found.isprintable()
        assert len(found) <= 61
    else:
        assert found == name


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        (answered(200, b"<form>Sign in</form>", content_type="text/html"), "a login page"),
        (answered(200, b"<html><input type='password'>"), "a login page"),
        (answered(403, b"<title>Just a moment...</title>", server="cloudflare"), "a challenge page"),
        (answered(401, www_authenticate='Basic realm="Staff"'), "a demand for a user and a password"),
        (answered(200, b"<h1>It works</h1>", content_type="text/html"), None),
        (answered(403, b"log in first", content_type="text/plain"), None),
    ],
)
def test_what_a_page_wants(answer: HttpAnswer, page: str | None) -> None:
    """A page that asks a person for something does not answer a program, whatever its status is."""
    assert page_for_people(answer) == page


def test_who_handed_an_answer_on() -> None:
    """By headers that a gateway writes into an answer of the server behind it; a page's text may be that server's."""
    assert passed_through(answered(401, server="nginx/1.22.1")) == "nginx"
    assert passed_through(answered(200, via="1.1 Caddy")) == "Caddy"
    assert passed_through(answered(401, b"<center>nginx</center>", server="uvicorn")) is None


@pytest.mark.parametrize(
    ("answer", "too_large"),
    [
        (answered(431), True),
        (answered(494, server="nginx"), True),
        (answered(400, b"<title>400 Request Header Or Cookie Too Large</title>"), True),
        (answered(400, b"<title>400 Bad Request</title>"), False),
        (answered(200, b"Header Or Cookie Too Large"), False),
    ],
)
def test_headers_that_are_too_large(answer: HttpAnswer, too_large: bool) -> None:
    """A long bearer is refused, and it is not wrong."""
    assert header_too_large(answer) is too_large
