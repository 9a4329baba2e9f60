"""Raw requests and bearers: no spelling of a request, a bearer or a JWT opens what it should not."""

import base64
import hashlib
import hmac
import re
import time
from pathlib import Path

import httpx
import pytest

from tests.attack import plane_under_attack
from tests.attack.plane import BEARER, Plane, running, statuses, token
from tests.attack.plane_under_attack import HEAD, JSON, NODE, NODES
from tests.control.conftest import JWT_SECRET, TOKENS

pytestmark = pytest.mark.xdist_group("attacked control plane")
plane = plane_under_attack.plane
still_well = plane_under_attack.still_well


# Requests

SECOND = b"GET /v1/populi/nodes " + HEAD + BEARER + b"\r\n"


def _post(headers: bytes, body: bytes) -> bytes:
    return b"POST /v1/populi/leave " + HEAD + JSON + headers + b"\r\n" + body


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(_post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), id="CL and TE"),
        pytest.param(_post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n"), id="TE and CL"),
        pytest.param(_post(b"Content-Length: 0\r\nContent-Length: 99\r\n", b""), id="two lengths"),
        pytest.param(_post(b"Content-Length: 0, 99\r\n", b""), id="a list of lengths"),
        pytest.param(_post(b"Content-Length: +0\r\n", b""), id="signed length"),
        pytest.param(_post(b"Content-Length: 0x0\r\n", b""), id="hexadecimal length"),
        pytest.param(_post(b"Content-Length : 0\r\n", b""), id="blank before the colon"),
        pytest.param(_post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"), id="codings"),
        pytest.param(_post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), id="unknown coding"),
        pytest.param(_post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", b"0\r\n\r\n"), id="two codings"),
        pytest.param(_post(BEARER + b"Transfer-Encoding: chunked\r\n", b"-1\r\n\r\n"), id="negative chunk"),
        pytest.param(_post(BEARER + b"Transfer-Encoding: chunked\r\n", b"f" * 30 + b"\r\n"), id="endless chunk"),
        pytest.param(_post(BEARER + b"Transfer-Encoding: chunked\r\n", b"2\r\n{}XX0\r\n\r\n"), id="chunk overrun"),
        pytest.param(_post(b"X: a\rContent-Length: 0\r\n", b""), id="bare carriage return"),
        pytest.param(_post(b"X: a\x00b\r\n", b""), id="NUL in a header"),
        pytest.param(b"GET /health HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /health HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET /hea\x00lth " + HEAD + b"\r\n", id="NUL in the target"),
        pytest.param(b"GET /hea\xfflth " + HEAD + b"\r\n", id="no ASCII in the target"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP 2"),
        pytest.param(b"GET /health " + HEAD + b"x: " + b"y" * 2_000_000 + b"\r\n\r\n", id="a header of 2 MB"),
        pytest.param(b"GET /health " + HEAD + b"x: y\r\n" * 400_000 + b"\r\n", id="400 000 headers"),
    ],
)
def test_nothing_is_smuggled(plane: Plane, request_: bytes) -> None:
    """A request that could be read in two ways is refused and the connection closed: what follows is not a request."""
    assert set(statuses(plane.talk(request_ + SECOND))) <= {400, 401, 431}
    assert b"schema_version" not in plane.talk(request_ + SECOND)


def test_bytes_that_are_no_http_get_the_headers_of_every_answer(plane: Plane) -> None:
    """400 in plain text with a request id, the features and the server's clock."""
    answer = plane.talk(b"nonsense\r\n\r\n").decode("ascii").lower()
    assert answer.startswith("http/1.1 400 ")
    for header in ("x-request-id: ", "x-populi-feature: ", "date: ", "connection: close", "content-type: text/plain"):
        assert f"\r\n{header}" in answer


@pytest.mark.parametrize(
    "target",
    [
        *(NODES, NODES + "/", "/" + NODES, NODES.upper(), NODES.replace("n", "%6e"), NODES.replace("/", "%2f")),
        *(f"/health/..{NODES}", f"/health%2f..{NODES}", f"/health;{NODES}", f"{NODES};/health", f"{NODES}?/health"),
        *("//health", "/health/", "/Health", "/health%00", "/health%3fx", "/health%23", "/%68ealth", "/health;x"),
        *(f"http://x{NODES}", "http://x/health", f"{NODES}%0d%0aAuthorization:%20Bearer%20x", "*", "/", "/."),
        *(
            "/v1/populi/bootstrap/exchange",
            "/v1/populi/bootstrap/exchange/..%2f..%2fnodes",
            "/openapi.json",
            "/metrics",
        ),
    ],
)
@pytest.mark.parametrize("host", ["x", "x/health?", "x/health#", "@/health"])
def test_no_spelling_of_a_path_gets_round_the_bearer(plane: Plane, target: str, host: str) -> None:
    """A route that is not exactly an open one needs a bearer, whatever the Host header adds to it."""
    answer = plane.talk(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert statuses(answer) in ([400], [401])


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PATCH", "DELETE", "PUT", "HEAD", "get", "G" * 200])
@pytest.mark.parametrize(("bearer", "expected"), [(b"", {400, 401}), (BEARER, {200, 400, 404, 405})])
def test_no_method_is_let_in_by_another_name(plane: Plane, method: str, bearer: bytes, expected: set[int]) -> None:
    """Without a bearer none is judged at all; with one, HEAD reads and the rest is refused, echoing nothing."""
    override = b"X-HTTP-Method-Override: GET\r\nX-Original-URL: /health\r\nX-Secret: repeat-me\r\n"
    answer = plane.talk(f"{method} {NODES} ".encode() + HEAD + override + bearer + b"Connection: close\r\n\r\n")
    assert set(statuses(answer)) <= expected
    assert (200 in statuses(answer)) == (method == "HEAD" and bool(bearer))
    assert b"repeat-me" not in answer


@pytest.mark.parametrize("path", ["/v1/populi/admin/quarantine", "/v1/populi/exec/leases"])
def test_an_override_makes_no_role_stronger(plane: Plane, path: str) -> None:
    """A worker stays one, whatever its headers say."""
    claims = {"x-http-method-override": "GET", "x-original-url": NODES, "x-role": "admin", "x-forwarded-user": "admin"}
    with plane.client("worker") as worker:
        body = {"node_id": "a", "quarantined": True}
        answer = worker.post(path, json=body, headers=claims) if "admin" in path else worker.get(path, headers=claims)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "lines",
    [
        "Authorization: Bearer wrong\r\nAuthorization: Bearer {token}",
        "Authorization: Bearer {token}\r\nAuthorization: Bearer wrong",
        "Authorization: Bearer {token}\r\nAuthorization: Bearer {token}",
        "Authorization: bearer {token}",
        "Authorization: BEARER {token}",
        "Authorization:\tBearer\t{token}",
        "Authorization: Bearer{token}",
        "Authorization: Bearer {token}, Bearer x",
        "Authorization: Bearer {token} x",
        "Authorization: Basic {token}",
        "Authorization: {token}",
        "Proxy-Authorization: Bearer {token}",
        "X-Authorization: Bearer {token}",
        "Cookie: authorization={token}",
        "Authorization: Bearer \r\n {token} x",
        "Authorization: Bearer {token}\xff",
        "Authorization: Bearer " + "x" * 12_000,
    ],
)
def test_no_spelling_of_a_bearer_but_one(plane: Plane, lines: str) -> None:
    """One Authorization header, one scheme, one credential."""
    header = lines.format(token=TOKENS["mesh"]).encode("latin-1") + b"\r\n"
    answer = plane.talk(b"GET /v1/populi/nodes " + HEAD + header + b"Connection: close\r\n\r\n")
    assert statuses(answer) == [401]


@pytest.mark.parametrize(
    "sent",
    [b"x" * 129, b"a b", b"a\tb", b"\xff", b"\x1b[2J", b"x\r\n set-cookie: y", b"", b"x" * 12_000],
    ids=["long", "blank", "tab", "no ASCII", "terminal", "folded", "empty", "very long"],
)
def test_only_a_plain_request_id_comes_back(plane: Plane, sent: bytes) -> None:
    """Printable and short; the server replaces anything else by a new id."""
    answer = plane.talk(b"GET /health " + HEAD + b"X-Request-Id: " + sent + b"\r\nConnection: close\r\n\r\n")
    (given,) = re.findall(rb"\r\nx-request-id: (.*?)\r\n", answer) or [b""]
    assert re.fullmatch(rb"[0-9a-f-]{36}", given) or statuses(answer) == [400]
    assert b"set-cookie" not in answer


def test_no_line_of_the_log_is_forged(plane: Plane) -> None:
    """Line ends, quotes and escapes of a client stay inside the string that they were sent in."""
    forged = 'x"}\n{"event": "forged", "level": "info"}\r\n\x1b[2J\x9b2J\u2028'
    with plane.client() as node:
        assert node.post("/v1/populi/join", json={**NODE, "id": forged}).status_code == 200
        assert node.post("/v1/populi/leave", json={"id": forged}).status_code == 204
        node.get("/%0d%0a%7b%22event%22:%22forged%22%7d%1b[2J", headers={"x-request-id": '"}{"event":"forged"}'})
    assert not [line for line in plane.log() if line["event"] == "forged"]
    assert not re.search(r"[^\n -~]", plane.log_file.read_text())


def test_strangers_make_no_series(plane: Plane) -> None:
    """Paths and methods of their own are counted as other."""
    for number in range(50):
        plane.talk(b"M%d /made-up-%d " % (number, number) + HEAD + b"Connection: close\r\n\r\n")
    series = httpx.get(plane.metrics_url()).text
    assert "made-up" not in series
    assert "M7" not in series


# Bearers that are JWTs


def _signed(header: str, payload: str) -> str:
    """Whatever it says, signed with the server's secret."""
    parts = [base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in (header, payload)]
    signature = hmac.digest(JWT_SECRET.encode(), b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


HS256 = '{"alg":"HS256"}'
FAR = 4_102_444_800  # the year 2100


@pytest.mark.parametrize(
    ("header", "payload"),
    [
        *((HS256, f'{{"role":"worker","jti":{jti},"exp":{FAR}}}') for jti in (
            r'"\ud800"', r'"a\udfff"', '""', '" "', "5", "null", "[]", '"' + "x" * 513 + '"', '"' + "x" * 30_000 + '"'
        )),
        *((HS256, f'{{"role":"worker","jti":"j","exp":{exp}}}') for exp in (
            "1e400", "-1", f'"{FAR}"', "true", "null", f"{FAR}.5", "0", "-" + "9" * 400, "9" * 5000, "[]", "NaN"
        )),
        *((HS256, f'{{"role":{role},"jti":"j","exp":{FAR}}}') for role in (
            r'"\ud800"', '"root"', "5", "null", '["admin"]', '"admin\\u0000"', '"Admin Worker"'
        )),
        (HS256, f'{{"role":"admin","jti":"j","exp":{FAR},"nbf":{"9" * 400}}}'),
        (HS256, f'{{"role":"admin","jti":"j","exp":{FAR},"nbf":"x"}}'),
        (HS256, f'{{"role":"admin","jti":"j","exp":{FAR},"aud":"another"}}'),
        (HS256, "[" * 5_000),
        (HS256, '"text"'),
        ("[]", f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
        *((f'{{"alg":{alg}}}', f'{{"role":"admin","jti":"j","exp":{FAR}}}') for alg in (
            '"none"', '"None"', '"HS384"', '"HS512"', '"RS256"', '"ES256"', '"hs256"', "null", "5", "[]", '"\\ud800"'
        )),
        ('{"alg":"HS256","crit":["exp"]}', f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
        ('{"alg":"HS256","crit":[]}', f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
        ('{"alg":"HS256","b64":false}', f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
        ('{"alg":"HS256","kid":"../../etc/passwd","crit":["b64"]}', f'{{"role":"admin","jti":"j","exp":{FAR}}}'),
    ],
    ids=lambda text: str(text)[:48],
)  # fmt: skip
def test_an_unsound_jwt_opens_nothing(plane: Plane, header: str, payload: str) -> None:
    """Signed with the right secret or not: 401, never an exception."""
    answer = httpx.get(plane.url + NODES, headers={"authorization": f"Bearer {_signed(header, payload)}"})
    assert (answer.status_code, answer.text) == (401, "unauthorized")


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_jwt_without_its_signature_opens_nothing(plane: Plane, cut: int) -> None:
    """Or with a part of it."""
    answer = httpx.get(plane.url + NODES, headers={"authorization": f"Bearer {token()[:-cut]}"})
    assert answer.status_code == 401


def test_a_jwt_is_used_once_whatever_clocks_and_processes_do(tmp_path: Path) -> None:
    """The clock jumps ahead by a year and back, with `kill -9` in between: the second use is 401."""
    once = token()

    def used(url: str, bearer: str) -> int:
        return httpx.get(url + NODES, headers={"authorization": f"Bearer {bearer}"}).status_code

    year_s = 365 * 24 * 3600
    with running(tmp_path) as now:
        assert [used(now.url, once) for _ in range(2)] == [200, 401]
    with running(tmp_path, skew_s=year_s) as later:
        assert used(later.url, once) == 401
        assert [used(later.url, token(exp=int(time.time()) + year_s + 300)) for _ in range(3)] == [200] * 3
    with running(tmp_path) as back:
        assert [used(back.url, once), used(back.url, token())] == [401, 200]
