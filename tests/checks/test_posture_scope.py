"""posture.scope's judge, by table."""

import pytest
from preflight_checks.posture_scope import judge, judge_name

from preflight.api import Status
from preflight.model.roles import ScopeTrial


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        (ScopeTrial("enforced", "preflight-x", "s", "403"), ["pass"]),
        (ScopeTrial("open", "preflight-x", "s"), ["posture.scope-open"]),
        (ScopeTrial("open", "preflight-x", "s", left=False), ["posture.scope-open", "enroll.leave-failed"]),
        (ScopeTrial("unknown", "preflight-x", "s", "401"), ["run.no-answer"]),
        (ScopeTrial("unknown", "preflight-x", "s", "no answer", left=False), ["run.no-answer", "enroll.leave-failed"]),
    ],
)
def test_judge(trial: ScopeTrial, expected: list[str]) -> None:
    """Only a join that was taken proves an open scope, and a row that stayed is never kept quiet."""
    results = judge(trial)
    assert [result.code.slug if result.code else "pass" for result in results] == expected
    assert all("preflight-x" in result.message for result in results if result.aspect == "leave")


def test_the_line_to_paste_has_this_nodes_scope() -> None:
    """The control plane should serve the cluster that this node takes for its own."""
    remedies = [judge(ScopeTrial("open", "x", "s"), scope)[0].remedy for scope in ("pool a", None)]
    assert [(remedy or "").split("   ")[0] for remedy in remedies] == [
        "VOX_MESH_SCOPE_ID='pool a'",
        "VOX_MESH_SCOPE_ID=SCOPE-OF-THIS-CLUSTER",
    ]


def test_a_scope_id_that_strangers_choose_too_is_a_warning() -> None:
    """Protects from two clusters with one name; nothing is said where no scope is set, which others report."""
    (result,) = judge_name("my-cluster")
    assert result.code is not None
    assert (result.code.slug, result.status, result.aspect) == ("posture.scope-guessable", Status.WARN, "name")
    assert "'my-cluster'" in result.message
    assert judge_name("acme-7f3a") == judge_name(None) == []
