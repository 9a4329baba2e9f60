"""Conformance: execution leases."""

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.control.conftest import Target


@pytest.fixture
def holder(target: "Target") -> str:
    return str(target.join()["id"])


@pytest.fixture
def other(target: "Target") -> str:
    return str(target.join()["id"])


def test_a_granted_lease_is_listed(target: "Target", holder: str) -> None:
    """The answer is the lease as the list has it; ids are digits that do not start with 0."""
    lease = _granted(target, holder, f" task:{holder} ")
    assert re.fullmatch(r"[1-9][0-9]*", lease["lease_id"])
    assert (lease["scope_key"], lease["holder_node_id"]) == (f"task:{holder}", holder)
    assert lease in _leases(target)


def test_the_holder_gets_the_same_lease_again(target: "Target", holder: str) -> None:
    """Granting again extends; the id stays, also for a key written with blanks around it."""
    first = _granted(target, holder, holder)
    again = _granted(target, holder, f"  {holder}")
    assert again["lease_id"] == first["lease_id"]
    assert again["expires_unix_ms"] >= first["expires_unix_ms"]


def test_one_scope_key_has_one_holder(target: "Target", holder: str, other: str) -> None:
    """409 for everyone except the holder until the holder lets go; then a new lease with a new id."""
    first = _granted(target, holder, holder)
    assert _grant(target, other, holder) == 409
    assert _lease(target, "release", first["lease_id"], holder) == 204
    assert _granted(target, other, holder)["lease_id"] != first["lease_id"]


@pytest.mark.parametrize(("scope_key", "status"), [("", 400), (" \t", 400), ("x" * 2049, 400), ("x" * 2048, 200)])
def test_scope_keys_have_a_length(target: "Target", holder: str, scope_key: str, status: int) -> None:
    """Empty and over 2048: 400."""
    assert _grant(target, holder, scope_key) == status
    if status == 200:
        (lease,) = (lease for lease in _leases(target) if lease["holder_node_id"] == holder)
        assert _lease(target, "release", lease["lease_id"], holder) == 204


def test_only_the_holder_renews_and_releases(target: "Target", holder: str, other: str) -> None:
    """409 for another node, 404 for no lease, 204 for the holder, 404 once released."""
    lease_id = _granted(target, holder, holder)["lease_id"]
    for verb in ("renew", "release"):
        assert _lease(target, verb, lease_id, other) == 409
        assert _lease(target, verb, lease_id, "nobody-is-called-this") == 403
        assert _lease(target, verb, " ", holder) == 400
        assert _lease(target, verb, lease_id, " ") == 400
    assert _lease(target, "renew", f" {lease_id} ", f" {holder} ") == 204
    assert _lease(target, "release", lease_id, holder) == 204
    assert _lease(target, "renew", lease_id, holder) == 404
    assert _lease(target, "release", lease_id, holder) == 404


@pytest.mark.parametrize("lease_id", ["0", "01", "-1", "1.0", "x", "9" * 18, "9" * 30, "9" * 5000, "١"])
def test_what_is_no_lease_id_is_404(target: "Target", holder: str, lease_id: str) -> None:
    """However it is written."""
    assert _lease(target, "renew", lease_id, holder) == 404
    assert target.post("/admin/exec-lease/revoke", {"lease_id": lease_id}).status_code == 404


def test_who_is_out_of_service_gets_nothing_new_but_may_let_go(target: "Target", holder: str) -> None:
    """Quarantined or draining: 403 for grant and renew; release works, so that others can go on."""
    for path, field in (("/admin/quarantine", "quarantined"), ("/admin/maintenance", "maintenance")):
        lease_id = _granted(target, holder, holder)["lease_id"]
        assert target.post(path, {"node_id": holder, field: True}).status_code == 204
        assert _grant(target, holder, holder) == 403
        assert _grant(target, holder, f"{holder}-another") == 403
        assert _lease(target, "renew", lease_id, holder) == 403
        assert _lease(target, "release", lease_id, holder) == 204
        assert target.post(path, {"node_id": holder, field: False}).status_code == 204


def test_who_left_may_not_even_release(target: "Target", holder: str) -> None:
    """403 when the node is not registered now, whether it never joined or left; its lease runs out by itself."""
    lease_id = _granted(target, holder, holder)["lease_id"]
    assert target.post("/leave", {"id": holder}).status_code == 204
    assert _lease(target, "release", lease_id, holder) == 403
    assert _grant(target, "nobody-is-called-this", "x") == 403
    assert _grant(target, " ", "x") == 400


def test_an_administrator_revokes(target: "Target", holder: str, other: str) -> None:
    """204 and the key is free, 404 the second time, 400 for a blank id."""
    lease_id = _granted(target, holder, holder)["lease_id"]
    answers = [target.post("/admin/exec-lease/revoke", {"lease_id": f" {lease_id} "}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [204, 404]
    assert target.post("/admin/exec-lease/revoke", {"lease_id": " "}).status_code == 400
    assert _grant(target, other, holder) == 200


def _granted(target: "Target", claimer: str, scope_key: str) -> dict[str, Any]:
    answer = target.post("/exec/lease/grant", {"claimer_node_id": claimer, "scope_key": scope_key})
    assert answer.status_code == 200, answer.text
    lease: dict[str, Any] = answer.json()
    return lease


def _grant(target: "Target", claimer: str, scope_key: str) -> int:
    return target.post("/exec/lease/grant", {"claimer_node_id": claimer, "scope_key": scope_key}).status_code


def _lease(target: "Target", verb: str, lease_id: str, claimer: str) -> int:
    return target.post(f"/exec/lease/{verb}", {"lease_id": lease_id, "claimer_node_id": claimer}).status_code


def _leases(target: "Target") -> list[dict[str, Any]]:
    leases: list[dict[str, Any]] = target.ask("GET", "/exec/leases").json()["leases"]
    return leases
