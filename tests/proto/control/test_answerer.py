"""What an unexpected answer shows: whose it is, where a redirect leads, and which URL would be right."""

import pytest

from preflight.model.control import HttpAnswer
from preflight.proto.control.answerer import only_health_dies, right_url, strange
from preflight.proto.control.url import ControlUrl

URL = ControlUrl("http", "10.66.0.3", 9847)
PREFIXED = ControlUrl("https", "c.mesh.example", 443, "/mesh", port_given=False)
HEALTH, LIST = "GET /health", "GET /v1/populi/nodes"


def answered(status: int, body: bytes = b"", **headers: str) -> HttpAnswer:
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("url", "asked", "location", "base"),
    [
        (URL, LIST, "https://login.example/", "https://login.example/"),
        (URL, LIST, "https://login.example/?next=s3cr3t", "https://login.example/"),
        (URL, LIST, "https://mesh.example/v1/populi/nodes", "https://mesh.example"),
        (URL, HEALTH, "https://10.66.0.3/health", "https://10.66.0.3"),
        (PREFIXED, HEALTH, "https://c.mesh.example/new/mesh/health", "https://c.mesh.example/new"),
        (URL, HEALTH, "/login", "http://10.66.0.3:9847/login"),
        (URL, HEALTH, "", "nowhere"),
    ],
)
def test_where_a_redirect_leads(url: ControlUrl, asked: str, location: str, base: str) -> None:
    """Without the path that was asked for, so that it can be compared with a URL; a query is never shown."""
    found = strange(asked, answered(302, location=location), url)
    assert found.code.slug == "control.redirected"
    assert found.decided.location == base
    assert base in found.message
    assert "s3cr3t" not in f"{found}"


@pytest.mark.parametrize(
    ("location", "right"),
    [
        ("https://10.66.0.3/health", "https://10.66.0.3"),
        ("https://10.66.0.3:8443/health", "https://10.66.0.3:8443"),
        ("https://10.66.0.4/health", None),
        ("http://10.66.0.3/health", None),
        ("https://10.66.0.3.evil.example/health", None),
        ("https://user@10.66.0.3/health", "https://10.66.0.3"),
        ("::::", None),
    ],
)
def test_tls_on_the_same_host_is_the_right_url(location: str, right: str | None) -> None:
    """Any other host is a stranger, whatever its name looks like: no bearer is sent there."""
    found = right_url(answered(301, location=location), URL, HEALTH)
    assert (None if found is None else str(found)) == right


@pytest.mark.parametrize(
    ("answer", "url", "code", "words"),
    [
        (answered(502, server="nginx"), URL, "control.unhealthy", "by nginx"),
        (answered(503, server="Caddy"), URL, "control.unhealthy", "the server behind it"),
        (answered(503, server="nginx", retry_after="7"), URL, "control.unhealthy", "asking to wait 7 s: so it answers"),
        (answered(500, b"oops", x_populi_feature="a"), URL, "control.unhealthy", "by the control plane itself"),
        (answered(404, b"x", x_populi_feature="a"), PREFIXED, "control.bad-answer", "prefix /mesh"),
        (answered(404, b"x", x_populi_feature="a"), URL, "control.bad-answer", "by a control plane"),
        (answered(404, server="Caddy"), URL, "control.not-populi", "another server (Caddy)"),
        (answered(403, server="nginx"), URL, "control.not-populi", "or nginx itself refuses this node"),
        (answered(429, retry_after="7"), URL, "control.throttled", "asking to wait 7 s"),
    ],
)
def test_whose_answer_it_is(answer: HttpAnswer, url: ControlUrl, code: str, words: str) -> None:
    """A control plane's error is its own, and a gateway's is the gateway's."""
    found = strange(LIST, answer, url)
    assert found.code.slug == code
    assert words in found.message
    assert found.decided.http_status == answer.status


def test_a_503_of_its_own_says_nothing_of_the_server_behind() -> None:
    """nginx answers it during maintenance and above its limits, and 502 or 504 where nobody is behind it."""
    for answer in (answered(503, server="nginx"), answered(503, b"<title>Back soon</title>")):
        assert "the server behind it" not in strange(HEALTH, answer, URL).message


def test_a_request_that_arrives_changed() -> None:
    """Nobody is refused at the open health route, so what arrived there is not what was sent."""
    found = strange(HEALTH, answered(400, b"Invalid HTTP request", x_populi_feature="a"), URL)
    assert found.decided.problem == "request changed"
    assert strange(LIST, answered(400, x_populi_feature="a"), URL).decided.problem is None


def test_a_compressed_answer_is_not_quoted() -> None:
    """Protects readers: bytes of gzip were printed as what the control plane had said."""
    found = strange(HEALTH, answered(200, b"\x1f\x8b\x08", x_populi_feature="a", content_encoding="gzip"), URL)
    assert (found.code.slug, found.decided.problem) == ("control.bad-answer", "compressed")
    assert "compressed (gzip)" in found.message
    assert "gzip off" in f"{found.remedies}"


@pytest.mark.parametrize(
    ("location", "adds"),
    [
        (f"http://10.66.0.3:9847{LIST.partition(' ')[2]}/", True),
        (f"{LIST.partition(' ')[2]}/", True),
        ("http://10.66.0.3:9847/login/", False),
        (f"http://10.66.0.4:9847{LIST.partition(' ')[2]}/", False),
    ],
)
def test_a_redirect_that_only_adds_a_slash(location: str, adds: bool) -> None:
    """The control URL is right then, and to change it would not help: the gateway is what is wrong."""
    found = strange(LIST, answered(301, location=location), URL)
    assert ("with a slash behind it" in found.message) is adds
    assert ([remedy.where for remedy in found.remedies] == ["control host"]) is adds


def test_a_redirect_without_a_place() -> None:
    """Protects from a remedy without sense: there is no place to point the URL away from."""
    found = strange(LIST, answered(302, b"moved"), URL)
    assert "without a Location" in found.message
    assert "nowhere" not in f"{found.remedies}"


def test_who_wants_a_login_is_asked_to_want_none() -> None:
    """Protects set-ups with a password on everything: nobody gives one to workers."""
    found = strange(HEALTH, answered(401, server="nginx", www_authenticate='Basic realm="x"'), URL)
    assert found.code.slug == "control.not-populi"
    assert "without a login" in f"{found.remedies}"


def test_an_answer_that_lacks_only_the_header() -> None:
    """Protects the truth: a gateway may take the header out of a control plane's own answers."""
    found = strange(HEALTH, answered(200, b"ok\n", server="nginx"), URL)
    assert "takes that header out" in found.message
    assert "takes that header out" not in strange(HEALTH, answered(200, b"OK", server="nginx"), URL).message


def test_only_health_has_a_dead_server() -> None:
    """Protects the truth: the control plane lives, and another server than its own is asked for `/health`."""
    bad = HttpAnswer(502, {"server": "nginx"}, b"", 1.0, 0.0, 0.0, connected=False)
    found = only_health_dies(strange(HEALTH, bad, None), bad)
    assert found is not None
    assert "only for /health nginx has no answer" in found.message
    assert "same server" in found.remedies[0].lines[0]
    other = HttpAnswer(404, {"server": "nginx"}, b"", 1.0, 0.0, 0.0, connected=False)
    assert only_health_dies(strange(HEALTH, other, None), other) is None
