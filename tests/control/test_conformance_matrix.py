"""Conformance: every route × each of its errors and every wrong body × every role, and no bearer.

Written down from the contract. The rows of the registry, mailbox and leases that the errors need are made once and are
never changed by a case: each of them is refused.
"""

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.control.conftest import Target

NOBODY = "nobody-is-called-this"
ROLES = ("mesh", "worker", "submitter", "admin")
WORKERS = frozenset({"mesh", "worker", "admin"})
SUBMITTERS = frozenset({"mesh", "submitter", "admin"})
ADMINS = frozenset({"mesh", "admin"})

MESSAGE = {"sender_agent_id": "1", "receiver_agent_id": "2", "message_type": "note", "payload": ""}
RENEW_MAIL = {"receiver_agent_id": "MAILBOX", "message_id": "UNCLAIMED", "claimer_node_id": "NODE"}
GRANT = {"claimer_node_id": "NODE", "scope_key": "KEY"}
LEASE = {"lease_id": "LEASE", "claimer_node_id": "NODE"}
RECORD = {"id": NOBODY, "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}

# Path, whom it admits, a body in which names in capitals stand for what the fixture made, and the answer.
ERRORS: list[tuple[str, frozenset[str], dict[str, Any], int]] = [
    ("/leave", WORKERS, {"id": NOBODY}, 404),
    ("/leave", WORKERS, {"id": " "}, 404),
    ("/a2a/deliver", SUBMITTERS, MESSAGE | {"sender_agent_id": "x"}, 400),
    ("/a2a/deliver", SUBMITTERS, MESSAGE | {"receiver_agent_id": " "}, 400),
    ("/a2a/inbox", WORKERS, {"receiver_agent_id": "MAILBOX", "claimer_node_id": NOBODY}, 403),
    ("/a2a/ack", WORKERS, {"receiver_agent_id": "MAILBOX", "message_id": 2**62}, 404),
    ("/a2a/ack", WORKERS, {"receiver_agent_id": "1", "message_id": "UNCLAIMED"}, 404),
    ("/a2a/lease-renew", WORKERS, RENEW_MAIL | {"claimer_node_id": " "}, 400),
    ("/a2a/lease-renew", WORKERS, RENEW_MAIL | {"claimer_node_id": NOBODY}, 403),
    (
        "/a2a/lease-renew",
        WORKERS,
        RENEW_MAIL | {"claimer_node_id": "QUARANTINED", "message_id": "MAIL OF QUARANTINED"},
        403,
    ),
    ("/a2a/lease-renew", WORKERS, RENEW_MAIL | {"claimer_node_id": "DRAINING", "message_id": "MAIL OF DRAINING"}, 403),
    ("/a2a/lease-renew", WORKERS, RENEW_MAIL | {"message_id": 2**62}, 404),
    ("/a2a/lease-renew", WORKERS, RENEW_MAIL | {"receiver_agent_id": "1"}, 404),
    ("/a2a/lease-renew", WORKERS, RENEW_MAIL, 409),
    ("/a2a/lease-renew", WORKERS, RENEW_MAIL | {"message_id": "CLAIMED"}, 409),
    ("/exec/lease/grant", WORKERS, GRANT | {"claimer_node_id": " "}, 400),
    ("/exec/lease/grant", WORKERS, GRANT | {"scope_key": " "}, 400),
    ("/exec/lease/grant", WORKERS, GRANT | {"scope_key": "x" * 2049}, 400),
    ("/exec/lease/grant", WORKERS, GRANT | {"claimer_node_id": NOBODY, "scope_key": NOBODY}, 403),
    ("/exec/lease/grant", WORKERS, GRANT | {"claimer_node_id": "QUARANTINED", "scope_key": NOBODY}, 403),
    ("/exec/lease/grant", WORKERS, GRANT | {"claimer_node_id": "DRAINING", "scope_key": NOBODY}, 403),
    ("/exec/lease/grant", WORKERS, GRANT, 409),
    ("/exec/lease/renew", WORKERS, LEASE | {"lease_id": " "}, 400),
    ("/exec/lease/renew", WORKERS, LEASE | {"claimer_node_id": " "}, 400),
    ("/exec/lease/renew", WORKERS, LEASE | {"claimer_node_id": NOBODY}, 403),
    ("/exec/lease/renew", WORKERS, {"claimer_node_id": "QUARANTINED", "lease_id": "LEASE OF QUARANTINED"}, 403),
    ("/exec/lease/renew", WORKERS, {"claimer_node_id": "DRAINING", "lease_id": "LEASE OF DRAINING"}, 403),
    ("/exec/lease/renew", WORKERS, LEASE | {"lease_id": "0"}, 404),
    ("/exec/lease/renew", WORKERS, LEASE | {"lease_id": "RELEASED"}, 404),
    ("/exec/lease/renew", WORKERS, LEASE, 409),
    ("/exec/lease/release", WORKERS, LEASE | {"lease_id": " "}, 400),
    ("/exec/lease/release", WORKERS, LEASE | {"claimer_node_id": " "}, 400),
    ("/exec/lease/release", WORKERS, LEASE | {"claimer_node_id": NOBODY}, 403),
    ("/exec/lease/release", WORKERS, LEASE | {"lease_id": "RELEASED"}, 404),
    ("/exec/lease/release", WORKERS, LEASE, 409),
    ("/exec/lease/release", WORKERS, LEASE | {"claimer_node_id": "QUARANTINED"}, 409),
    ("/admin/quarantine", ADMINS, {"node_id": " ", "quarantined": True}, 400),
    ("/admin/quarantine", ADMINS, {"node_id": NOBODY, "quarantined": True}, 404),
    ("/admin/maintenance", ADMINS, {"node_id": " ", "maintenance": True}, 400),
    ("/admin/maintenance", ADMINS, {"node_id": NOBODY, "maintenance": True}, 404),
    ("/admin/exec-lease/revoke", ADMINS, {"lease_id": " "}, 400),
    ("/admin/exec-lease/revoke", ADMINS, {"lease_id": "RELEASED"}, 404),
]
ROUTES = {path: allowed for path, allowed, _, _ in ERRORS} | {"/join": WORKERS, "/heartbeat": WORKERS}
EXAMPLES = {path: body for path, _, body, _ in ERRORS} | {"/join": RECORD, "/heartbeat": RECORD}
WRONG_BODIES = {
    400: (b'{"id": nope}', "application/json"),
    415: (b"{}", "text/plain"),
    422: (b"[]", "application/json"),
}


@pytest.fixture(scope="module")
def made(target: "Target") -> dict[str, Any]:
    """What the capitals in the bodies mean."""
    mailbox = str(uuid.uuid4().int)[:18]
    nodes = {name: str(target.join()["id"]) for name in ("NODE", "HOLDER", "QUARANTINED", "DRAINING")}
    made: dict[str, Any] = {"MAILBOX": mailbox, "KEY": nodes["HOLDER"], **nodes}
    for name in ("HOLDER", "QUARANTINED", "DRAINING"):
        made[f"MAIL OF {name}"] = target.deliver(mailbox, privacy_class="private", priority=255)
        (row,) = target.inbox(mailbox, claimer_node_id=nodes[name])
        assert row["id"] == made[f"MAIL OF {name}"]
        made[f"LEASE OF {name}"] = lease(target, nodes[name], nodes[name])
    made |= {
        "UNCLAIMED": target.deliver(mailbox, privacy_class="private"),
        "CLAIMED": made["MAIL OF HOLDER"],
        "LEASE": made["LEASE OF HOLDER"],
        "RELEASED": lease(target, nodes["HOLDER"], f"{nodes['HOLDER']}-released"),
    }
    done = {"lease_id": made["RELEASED"], "claimer_node_id": nodes["HOLDER"]}
    blocked = {"node_id": nodes["QUARANTINED"], "quarantined": True}
    drained = {"node_id": nodes["DRAINING"], "maintenance": True}
    assert target.post("/exec/lease/release", done).status_code == 204
    assert target.post("/admin/quarantine", blocked).status_code == 204
    assert target.post("/admin/maintenance", drained).status_code == 204
    return made


def lease(target: "Target", node_id: str, scope_key: str) -> str:
    answer = target.post("/exec/lease/grant", {"claimer_node_id": node_id, "scope_key": scope_key})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["lease_id"])


def named(case: tuple[str, frozenset[str], dict[str, Any], int]) -> str:
    path, _, body, status = case
    return f"{path}-{status}-{json.dumps(body)[:60]}"


@pytest.mark.parametrize("role", [*ROLES, None])
@pytest.mark.parametrize("case", ERRORS, ids=named)
def test_every_error_of_a_route_by_role(
    target: "Target",
    made: dict[str, Any],
    case: tuple[str, frozenset[str], dict[str, Any], int],
    role: str | None,
) -> None:
    """A client that the route admits gets the route's own answer, others 403 whatever is wrong, and strangers 401."""
    path, allowed, body, status = case
    target.bearer("mesh")
    answer = target.post(path, {name: made.get(value, value) for name, value in body.items()}, role)
    expected = 401 if role is None else status if role in allowed else 403
    assert answer.status_code == expected, answer.text
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("role", [*ROLES, None])
@pytest.mark.parametrize("status", WRONG_BODIES)
@pytest.mark.parametrize("path", ROUTES)
def test_every_wrong_body_by_role(target: "Target", path: str, status: int, role: str | None) -> None:
    """The bearer comes first, always; between a role's 403 and the body either may be first."""
    target.bearer("mesh")
    content, content_type = WRONG_BODIES[status]
    answer = target.ask("POST", path, role, content=content, headers={"content-type": content_type})
    if role is None:
        assert answer.status_code == 401
    elif role in ROUTES[path]:
        assert answer.status_code == status
    else:
        assert answer.status_code in {403, status}


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_caps_its_body(target: "Target", path: str) -> None:
    """9 MiB are over any cap, wherever they are sent."""
    content = json.dumps(EXAMPLES[path] | {"more": "x" * (9 << 20)}).encode()
    answer = target.ask("POST", path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 413


def test_the_matrix_is_whole() -> None:
    """Except for the exchange, no route of our table takes a body and is missing here."""
    from preflight.control import routes

    taking = {route.path.removeprefix(routes.PREFIX) for route in routes.ROUTES if route.takes}
    assert taking - {"/bootstrap/exchange"} == ROUTES.keys()
    refused = {(path, status) for path, _, _, status in ERRORS}
    for route in routes.ROUTES:
        path = route.path.removeprefix(routes.PREFIX)
        if path in ROUTES and path not in {"/join", "/heartbeat"}:  # their 403 is the scope's: a server of its own
            assert {(path, status) for status in route.refusals} <= refused
