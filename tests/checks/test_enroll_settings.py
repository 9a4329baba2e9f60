"""enroll.settings' judge: places of one node that disagree."""

from pathlib import Path

from preflight_checks.enroll_settings import judge

from preflight.api import Status
from preflight.model.token import Disagreement, SwitchedOff, UnreadLine


def test_each_disagreement_names_its_places() -> None:
    """Values of a scope are shown, a token's are not."""
    scope = Disagreement("scope id", "VOX_MESH_SCOPE_ID", ("VOX_MESH_SCOPE_ID in /h/mesh.env",), ("ours", "theirs "))
    token = Disagreement("token", "VOX_MESH_TOKEN", ("VOX_MESH_TOKEN in /h/mesh.env",))
    first, second = judge([scope, token], ["/h/mesh.env"])
    assert [first.status, second.status] == [Status.WARN, Status.WARN]
    assert "'ours'" in first.message
    assert "'theirs'" in first.message
    assert "/h/mesh.env" in second.message
    assert second.measurements["source"] == ["VOX_MESH_TOKEN", "VOX_MESH_TOKEN in /h/mesh.env"]
    assert first.aspect != second.aspect


def test_agreement_says_what_was_read() -> None:
    """A green result names the places, so that a missing one is seen."""
    assert "/h/mesh.env" in judge([], ["/h/mesh.env"])[0].message
    assert "environment alone" in judge([], [])[0].message


def test_a_worker_that_is_told_to_stay_out() -> None:
    """The place and the variable are named, in addition to disagreements."""
    off = SwitchedOff("VOX_MESH_HTTP_JOIN", "0", Path("/h/mesh.env"))
    differ = Disagreement("token", "VOX_MESH_TOKEN", ("VOX_MESH_TOKEN in /h/mesh.env",))
    assert [each.code.slug for each in judge([differ], ["/h/mesh.env"], off) if each.code] == [
        "enroll.settings-disagree",
        "enroll.switched-off",
    ]
    (only,) = judge([], [], off)
    assert only.status is Status.WARN
    assert "VOX_MESH_HTTP_JOIN is 0 in /h/mesh.env" in only.message


def test_a_scope_that_workers_do_not_read() -> None:
    """The line is named, and put right where it is."""
    (only,) = judge([], [], None, UnreadLine(Path("/h/mesh.env"), "VOX_MESH_SCOPE_ID", "export", "s"))
    assert only.status is Status.WARN
    assert "export" in only.message
    assert only.remedies[0].fix is not None
