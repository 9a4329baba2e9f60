"""Bodies of those with a bearer: no value breaks anything, and nothing grows without bound."""

import json
from typing import Any

import pytest

from preflight.control.routes import PREFIX, ROUTES
from tests.attack import plane_under_attack
from tests.attack.plane import Plane
from tests.attack.plane_under_attack import NODE, NODES

pytestmark = pytest.mark.xdist_group("attacked control plane")
plane = plane_under_attack.plane
still_well = plane_under_attack.still_well


# What stands in bodies

RECORD_FIELDS = {"listen_addr": "x", "pool_id": "x", "capabilities": {"labels": ["x"]}, "maintenance_until_unix_ms": 1}


BODIES: dict[str, dict[str, Any]] = {
    "/join": {**NODE, **RECORD_FIELDS, "gpu_total_count": 1, "unknown": "x"},
    "/heartbeat": {**NODE, **RECORD_FIELDS, "gpu_total_count": 1, "unknown": 1},
    "/leave": {"id": "nobody"},
    "/bootstrap/exchange": {"bootstrap_token": "x", "idempotency_key": "x"},
    "/a2a/deliver": {
        **{"sender_agent_id": "1", "receiver_agent_id": "2", "message_type": "x", "payload": "x", "priority": 1},
        **{"idempotency_key": "x", "privacy_class": "x", "task_kind": "x", "traceparent": "x"},
    },
    "/a2a/inbox": {"receiver_agent_id": "2", "claimer_node_id": "a", "max_messages": 1, "before_message_id": 1},
    "/a2a/ack": {"receiver_agent_id": "2", "message_id": 1},
    "/a2a/lease-renew": {"receiver_agent_id": "2", "message_id": 1, "claimer_node_id": "a"},
    "/exec/lease/grant": {"claimer_node_id": "a", "scope_key": "x"},
    "/exec/lease/renew": {"lease_id": "1", "claimer_node_id": "a"},
    "/exec/lease/release": {"lease_id": "1", "claimer_node_id": "a"},
    "/admin/quarantine": {"node_id": "nobody", "quarantined": True},
    "/admin/maintenance": {
        **{"node_id": "nobody", "maintenance": True},
        **{"maintenance_until_unix_ms": 1, "maintenance_for_ms": 1},
    },
    "/admin/exec-lease/revoke": {"lease_id": "1"},
}


HOSTILE = [
    *(r'"\ud800"', r'"\udfff x"', r'"a\u0000b"', '"\\u0000"', '""', '" "', '"x\\r\\ny\\u001b[2J"', '"\u202e\ufeff"'),
    *(json.dumps(text) for text in ("x" * 500_000, "9" * 500_000, "9" * 18, "-1", "0", "1e3", "٣")),
    *(str(number) for number in (2**63 - 1, 2**63, 2**64 - 1, 2**64, -1, -(2**63) - 1, 2**1000, 0)),
    *("1e400", "-1e400", "1.5", "1e18", "1E+19", "9" * 4300, "9" * 5000, "0." + "0" * 5000 + "1", "NaN", "Infinity"),
    *("true", "null", "[]", "{}", "[" * 50_000, '{"a":' * 190 + "1" + "}" * 190, '[["\\ud800"]]'),
]


@pytest.mark.parametrize("path", BODIES)
def test_no_value_in_any_field_breaks_anything(plane: Plane, path: str) -> None:
    """Halves of characters, NUL, half a megabyte, numbers beyond every integer: kept or refused, never a 5xx."""
    body = BODIES[path]
    with plane.client() as node:
        for name in body:
            for value in HOSTILE:
                whole = json.dumps({**body, name: "HERE"}).replace('"HERE"', value).encode()
                answer = node.post(PREFIX + path, content=whole, headers={"content-type": "application/json"})
                assert answer.status_code < 500, (name, value[:60], answer.text)
                assert len(answer.text) < 200_000
        assert node.get(NODES).json()["nodes"] is not None
        node.post("/v1/populi/leave", json={"id": "a"})
        for listed in node.get(NODES).json()["nodes"]:
            assert node.post("/v1/populi/leave", json={"id": listed["id"]}).status_code == 204


def test_every_route_with_a_body_is_attacked() -> None:
    """The table above is whole."""
    assert {route.path.removeprefix(PREFIX) for route in ROUTES if route.takes} == BODIES.keys()


@pytest.mark.parametrize("path", ["/join", "/heartbeat"])
def test_a_record_does_not_grow_without_bound(plane: Plane, path: str) -> None:
    """Sixty heartbeats with half a megabyte each, and sixty with a new field each: 413, and the record is as before."""
    with plane.client() as node:
        assert node.post("/v1/populi/join", json={**NODE, "id": "grows"}).status_code == 200
        for number in range(60):
            large = {**NODE, "id": "grows", f"field-{number}": "x" * 450_000}
            assert node.post(PREFIX + path, json=large).status_code == 413
            small = {**NODE, "id": "grows", f"field-{number}": "x" * 4_000}
            assert node.post(PREFIX + path, json=small).status_code in {200, 413}
        assert len(node.get(NODES).content) < 70_000
        assert node.post("/v1/populi/leave", json={"id": "grows"}).status_code == 204


def test_a_body_of_a_stranger_has_a_cap_of_its_own(plane: Plane) -> None:
    """The exchange's credential is in its body, so it is read before anything is known: up to 8 KiB."""
    with plane.client(None) as stranger:
        for size, expected in ((8_000, 404), (9_000, 413)):
            body = {"bootstrap_token": "x" * size}
            assert stranger.post("/v1/populi/bootstrap/exchange", json=body).status_code == expected


def test_a_key_is_its_sender_s(plane: Plane) -> None:
    """Another sender's message under the same idempotency key is a different message; the same sender's is the same."""
    message = {"receiver_agent_id": "77", "message_type": "n", "payload": "", "idempotency_key": "k"}
    with plane.client() as node:
        ids = [
            node.post("/v1/populi/a2a/deliver", json={**message, "sender_agent_id": sender}).json()["message_id"]
            for sender in ("1", "2", "1", " 1 ", "01")
        ]
    assert ids[0] == ids[2] == ids[3]
    assert len(set(ids)) == 3
