"""posture.secrets' judges, by table."""

from pathlib import Path

import pytest
from preflight_checks.posture_secrets import judge_files, judge_git

from preflight.api import Status
from preflight.model.leaks import Leak, Repository, SecretFile

ROOT = Path("/srv/deploy")
LEAK = Leak("docker-compose.yml", "VOX_MESH_TOKEN", 4)


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ([], "run.not-applicable"),
        ([0o600, 0o400, None], "pass"),
        ([0o600, 0o640], "posture.secret-file-mode"),
        ([0o604], "posture.secret-file-mode"),
        ([0o620], "posture.secret-file-mode"),
    ],
)
def test_modes(modes: list[int | None], expected: str) -> None:
    """Group and others count alike, reading and writing too; what could not be looked at is not accused."""
    files = [SecretFile(ROOT / f"token {n}", "control.token_file", mode) for n, mode in enumerate(modes)]
    result = judge_files(files)
    assert (result.code.slug if result.code else "pass") == expected
    if expected.startswith("posture"):
        assert result.remedy is not None
        assert result.remedy.startswith("chmod 600 '/srv/deploy/token ")


@pytest.mark.parametrize(
    ("repositories", "expected"),
    [
        ([], "run.not-applicable"),
        ([Repository(ROOT)], "pass"),
        ([Repository(ROOT, unfinished="git log was not done after 4 s")], "pass"),
        ([Repository(ROOT, missing_tool=True)], "run.needs-tool"),
        ([Repository(ROOT, unread="fatal: detected dubious ownership")], "run.needs-privilege"),
        ([Repository(ROOT, missing_tool=True), Repository(ROOT, (LEAK,))], "posture.secret-in-git"),
    ],
)
def test_git(repositories: list[Repository], expected: str) -> None:
    """A secret that was found counts, whatever else could not be read; and a search that was cut short says so."""
    result = judge_git(repositories)
    assert (result.code.slug if result.code else "pass") == expected
    for repository in repositories:
        assert repository.unfinished is None or repository.unfinished in result.message


def test_a_repository_that_nobody_named_and_git_refuses_is_no_reason_to_stop() -> None:
    """A job in a container works in another user's checkout: undecided there would end every such run with 3."""
    refused = Repository(ROOT, unread="fatal: detected dubious ownership")
    assert judge_git([refused], named=True).status is Status.INCONCLUSIVE
    assert judge_git([refused], named=False).status is Status.SKIP
    assert "posture.repositories" in judge_git([refused], named=False).message


def test_many_places_make_one_sentence() -> None:
    """A repository full of leaks is reported by a few places and a number; the list is in the evidence."""
    leaks = tuple(Leak(f"f{n}.yml", "VOX_MESH_TOKEN", n, "abc1234") for n in range(200))
    result = judge_git([Repository(ROOT, leaks)])
    assert "f0.yml:0 in commit abc1234 (VOX_MESH_TOKEN)" in result.message
    assert "and 197 more" in result.message
    assert len(result.evidence[0].data) == 50
