"""Conformance: what every route does before its own work: bearer, role, path, method, body, headers."""

import time
import uuid
from typing import TYPE_CHECKING, Any

import jwt
import pytest

if TYPE_CHECKING:
    from tests.control.conftest import Target

NODE = {"id": "x", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}
ROLES = ("mesh", "worker", "submitter", "admin")
EVERYBODY = frozenset(ROLES)
WORKERS = EVERYBODY - {"submitter"}
SUBMITTERS = EVERYBODY - {"worker"}
ADMINS = frozenset({"mesh", "admin"})

# Written down from the contract and not from the server's own table. The bodies are whole, and refused by the route
# itself: nothing that this suite sends to somebody's server while it tries doors may change anything there.
POSTS: dict[str, tuple[frozenset[str], dict[str, Any], int]] = {
    "/leave": (WORKERS, {"id": "nobody-is-called-this"}, 404),
    "/a2a/deliver": (
        SUBMITTERS,
        {"sender_agent_id": "x", "receiver_agent_id": "1", "message_type": "note", "payload": ""},
        400,
    ),
    "/a2a/inbox": (WORKERS, {"receiver_agent_id": "1", "claimer_node_id": "nobody-is-called-this"}, 403),
    "/a2a/ack": (WORKERS, {"receiver_agent_id": "1", "message_id": 2**62}, 404),
    "/a2a/lease-renew": (WORKERS, {"receiver_agent_id": "1", "message_id": 2**62, "claimer_node_id": " "}, 400),
    "/exec/lease/grant": (WORKERS, {"claimer_node_id": "x", "scope_key": " "}, 400),
    "/exec/lease/renew": (WORKERS, {"lease_id": " ", "claimer_node_id": "x"}, 400),
    "/exec/lease/release": (WORKERS, {"lease_id": " ", "claimer_node_id": "x"}, 400),
    "/admin/quarantine": (ADMINS, {"node_id": " ", "quarantined": True}, 400),
    "/admin/maintenance": (ADMINS, {"node_id": " ", "maintenance": True}, 400),
    "/admin/exec-lease/revoke": (ADMINS, {"lease_id": " "}, 400),
}
RECORDS = {"/join": WORKERS, "/heartbeat": WORKERS}
GETS = {"/nodes": WORKERS, "/exec/leases": ADMINS}
EXCHANGE = "/bootstrap/exchange"
BODIES = {**{path: body for path, (_, body, _) in POSTS.items()}, "/join": NODE, "/heartbeat": NODE}
PROTECTED = [*(("POST", path) for path in BODIES), *(("GET", path) for path in GETS)]
REQUIRED = [
    (path, name) for path, body in BODIES.items() for name in body if name != "claimer_node_id" or "exec" in path
]


@pytest.mark.parametrize(("method", "path"), [*PROTECTED, ("GET", "/no-such-path"), ("PATCH", "/join")])
@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic bWVzaDo=", "Bearer a.b.c"])
def test_no_route_answers_without_a_known_bearer(target: "Target", method: str, path: str, header: str | None) -> None:
    """401 `unauthorized` everywhere, on paths and for methods that do not exist as well."""
    target.bearer("mesh")
    headers = {"authorization": header} if header else {}
    answer = target.ask(method, path, None, headers=headers, json=BODIES.get(path, {}) if method != "GET" else None)
    assert (answer.status_code, answer.text) == (401, "unauthorized")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("content", "content_type"), [(b"{", "application/json"), (b"{}", "application/json"), (b"x", "text/plain")]
)
def test_the_bearer_is_judged_before_the_body(target: "Target", path: str, content: bytes, content_type: str) -> None:
    """A probe for protection may send a body that cannot succeed and must still see 401."""
    target.bearer("mesh")
    answer = target.ask("POST", path, None, content=content, headers={"content-type": content_type})
    assert answer.status_code == 401


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", POSTS)
def test_a_role_may_do_its_own_and_no_more(target: "Target", path: str, role: str) -> None:
    """The role table of the contract: others get 403, its own get as far as the route's own refusal."""
    allowed, body, refusal = POSTS[path]
    answer = target.post(path, body, role)
    assert answer.status_code == (refusal if role in allowed else 403), answer.text


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", RECORDS)
def test_a_role_may_register_or_not(target: "Target", path: str, role: str) -> None:
    """Join and heartbeat are for workers; a submitter's bearer never makes a node."""
    record = target.record()
    answer = target.post(path, record, role)
    assert answer.status_code == (200 if role in RECORDS[path] else 403)
    assert (target.listed(record["id"]) is not None) == (role in RECORDS[path])


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", GETS)
def test_a_role_may_read_or_not(target: "Target", path: str, role: str) -> None:
    """The node list is the workers', the list of execution leases the administrators'."""
    assert target.ask("GET", path, role).status_code == (200 if role in GETS[path] else 403)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", GETS)
def test_a_jwt_counts_as_the_role_it_names(target: "Target", path: str, role: str) -> None:
    """HS256 JWTs open the same doors as the role's own bearer."""
    answer = target.client.get(f"/v1/populi{path}", headers=_signed(target, role=role))
    assert answer.status_code == (200 if role in GETS[path] else 403)


def test_a_jwt_is_accepted_once(target: "Target") -> None:
    """The replay guard: the second use of a jti is 401, also with another signature time."""
    jti = str(uuid.uuid4())
    assert target.client.get("/v1/populi/nodes", headers=_signed(target, jti=jti)).status_code == 200
    assert target.client.get("/v1/populi/nodes", headers=_signed(target, jti=jti)).status_code == 401
    assert target.client.get("/v1/populi/nodes", headers=_signed(target, jti=jti, role="admin")).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"exp": "soon"},
        {"role": "root"},
        {"role": None},
        {"jti": " "},
        {"jti": None},
    ],
)
def test_a_jwt_without_sound_claims_is_refused(target: "Target", claims: dict[str, Any]) -> None:
    """Expired, for ever, of no role, without an id: 401."""
    assert target.client.get("/v1/populi/nodes", headers=_signed(target, **claims)).status_code == 401


@pytest.mark.parametrize(("algorithm", "key"), [("none", ""), ("HS512", None), ("HS256", "x" * 64)])
def test_a_jwt_of_another_kind_is_refused(target: "Target", algorithm: str, key: str | None) -> None:
    """No unsigned token, no other algorithm, no other secret."""
    secret = _jwt_secret(target)
    secret = secret if key is None else key
    claims = {"role": "mesh", "jti": str(uuid.uuid4()), "exp": int(time.time()) + 60}
    token = jwt.encode(claims, (secret * 2)[:64] if algorithm == "HS512" else secret, algorithm=algorithm)
    answer = target.client.get("/v1/populi/nodes", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_a_jwt_has_sixty_seconds_of_leeway(target: "Target") -> None:
    """Clocks differ: half a minute past its expiry a token still counts."""
    headers = _signed(target, exp=int(time.time()) - 30)
    assert target.client.get("/v1/populi/nodes", headers=headers).status_code == 200


@pytest.mark.parametrize("path", [*BODIES, EXCHANGE])
@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_a_body_that_does_not_claim_to_be_json_is_415(target: "Target", path: str, content_type: str | None) -> None:
    """The media type is asked for before the content."""
    headers = {"content-type": content_type} if content_type else {}
    assert target.ask("POST", path, content=b"{}", headers=headers).status_code == 415


@pytest.mark.parametrize("path", [*BODIES, EXCHANGE])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"{} {}", b'{"id": nope}', b"\xff\xfe", b'{"x": NaN}', b'{"x": "\xed"}']
)
def test_what_is_not_json_is_400(target: "Target", path: str, content: bytes) -> None:
    """Malformed syntax is 400, plain text."""
    answer = target.ask("POST", path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/vnd.x+json", "Application/JSON"]
)
def test_other_spellings_of_json_are_taken(target: "Target", content_type: str) -> None:
    """Parameters, structured suffixes and case do not matter (RFC 9110, 8.3.1; RFC 6839, 3.1)."""
    headers = {"content-type": content_type}
    answer = target.ask("POST", "/leave", content=b'{"id": "nobody-is-called-this"}', headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize(("path", "name"), [*REQUIRED, (EXCHANGE, "bootstrap_token")])
def test_a_missing_field_is_422(target: "Target", path: str, name: str) -> None:
    """Every required field of every route."""
    body = {key: value for key, value in BODIES.get(path, {}).items() if key != name}
    answer = target.post(path, body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(("path", "name"), [*REQUIRED, (EXCHANGE, "bootstrap_token")])
@pytest.mark.parametrize("value", [None, [1], 1.5])
def test_a_field_of_the_wrong_type_is_422(target: "Target", path: str, name: str, value: object) -> None:
    """Every required field of every route; no type is bent into another."""
    assert target.post(path, {**BODIES.get(path, {}), name: value}).status_code == 422


@pytest.mark.parametrize("path", [*BODIES, EXCHANGE])
@pytest.mark.parametrize("content", [b"[]", b"5", b'"text"', b"null", b"true"])
def test_json_that_is_no_object_is_422(target: "Target", path: str, content: bytes) -> None:
    """Right syntax, wrong kind."""
    headers = {"content-type": "application/json"}
    assert target.ask("POST", path, content=content, headers=headers).status_code == 422


@pytest.mark.parametrize("number", [-1, 2**64, "1", True, 1.5])
def test_integers_are_unsigned_64_bit(target: "Target", number: object) -> None:
    """Nothing else passes for a u64; its greatest value does."""
    assert target.post("/a2a/ack", {"receiver_agent_id": "1", "message_id": number}).status_code == 422
    assert target.post("/a2a/ack", {"receiver_agent_id": "1", "message_id": 2**64 - 1}).status_code == 404


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_cap_is_413(target: "Target", chunked: bool) -> None:
    """9 MiB are over any cap, announced or not; without a bearer that stays 401."""
    body = b'{"id": "' + b"x" * (9 << 20) + b'"}'
    content = (body[at : at + 65536] for at in range(0, len(body), 65536)) if chunked else body
    headers = {"content-type": "application/json"}
    assert target.ask("POST", "/leave", content=content, headers=headers).status_code == 413
    if target.tokens:
        assert target.ask("POST", "/leave", None, content=body, headers=headers).status_code == 401


@pytest.mark.parametrize(
    "path", ["/", "/v1/populi", "/v1/populi/", "/v1/populi/nodes/", "/v2/populi/nodes", "/health/"]
)
def test_an_unknown_path_is_404(target: "Target", path: str) -> None:
    """Paths are exact; a trailing slash makes another one."""
    answer = target.client.get(path, headers={"authorization": f"Bearer {target.bearer('mesh')}"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/plain") or not answer.content


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in [*BODIES, EXCHANGE]),
        *(("PUT", path) for path in BODIES),
        *(("POST", path) for path in GETS),
        ("POST", "/health"),
        ("DELETE", "/health"),
    ],
)
def test_a_wrong_method_is_405(target: "Target", method: str, path: str) -> None:
    """And the answer says which is right (RFC 9110, 15.5.6)."""
    answer = target.ask(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"]


def test_health_is_open_and_plain(target: "Target") -> None:
    """The one probe that needs nothing: no bearer, `ok` and a newline as text."""
    answer = target.ask("GET", "/health", None)
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert answer.headers["content-type"].startswith("text/plain")
    assert target.ask("HEAD", "/health", None).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [("GET", "/health", None), ("GET", "/nodes", "mesh"), ("POST", "/leave", "mesh"), ("GET", "/nodes", "submitter")],
)
def test_answers_name_features_and_request(target: "Target", method: str, path: str, role: str | None) -> None:
    """Good answers and refusals carry `x-populi-feature`, and the client's own `x-request-id` or a new one."""
    own = target.ask(method, path, role, headers={"x-request-id": "from-the-client"})
    assert own.headers["x-request-id"] == "from-the-client"
    first, second = (target.ask(method, path, role).headers["x-request-id"] for _ in range(2))
    assert first != second
    features = {word.strip() for word in own.headers["x-populi-feature"].split(",")}
    assert {"exec-lease-v1", "jwt-bearer-v1", "quarantine-v1", "maintenance-v1"} <= features


@pytest.mark.ours
def test_even_a_refusal_at_the_door_names_features_and_request(target: "Target") -> None:
    """401, 404 and 405 come from the outermost layers and carry the headers too."""
    for method, path, role in (("GET", "/nodes", None), ("GET", "/nowhere", "mesh"), ("PUT", "/join", "mesh")):
        answer = target.ask(method, path, role)
        assert answer.status_code in {401, 404, 405}
        assert answer.headers["x-populi-feature"]
        assert answer.headers["x-request-id"]


def _jwt_secret(target: "Target") -> str:
    if target.jwt_secret is None:
        pytest.skip("no JWT secret is known; set VOX_MESH_JWT_HMAC_SECRET")
    return target.jwt_secret


def _signed(target: "Target", **claims: object) -> dict[str, str]:
    """An Authorization header with a JWT; a claim that is None is left out."""
    defaults = {"role": "mesh", "jti": str(uuid.uuid4()), "exp": int(time.time()) + 300}
    payload = {name: value for name, value in {**defaults, **claims}.items() if value is not None}
    return {"authorization": f"Bearer {jwt.encode(payload, _jwt_secret(target), algorithm='HS256')}"}
