"""Which scope ids unrelated people choose too."""

import pytest

from preflight.proto.control.scope_name import guessable


@pytest.mark.parametrize(
    "scope_id",
    ["default", "my-cluster", "mesh-1", "Mesh_Prod", "test", "x", "a1", "CHANGEME", "vox-populi", "mesh-1 ", ""],
)
def test_common_words_are_guessable(scope_id: str) -> None:
    """Words that everyone uses, in any spelling, with a short number."""
    assert guessable(scope_id)


@pytest.mark.parametrize(
    "scope_id",
    ["preflight-lab", "another-cluster", "mesh-k3v9q2", "acme-mesh", "7f3a9c21", "my-cluster-2026", "münchen"],
)
def test_a_name_of_ones_own_is_not(scope_id: str) -> None:
    """One word that few people use is enough."""
    assert not guessable(scope_id)
