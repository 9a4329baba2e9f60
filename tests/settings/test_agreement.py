"""Places of one node that say different things about its cluster."""

from pathlib import Path

import pytest

from preflight.model.token import Disagreement
from preflight.settings.load import Options, load


def found(folder: Path, environ: dict[str, str], mesh_env: str) -> tuple[Disagreement, ...]:
    home = folder / "home"
    (home / ".vox/populi").mkdir(parents=True)
    (home / ".vox/populi/mesh.env").write_text(mesh_env)
    config = folder / "preflight.yaml"
    config.write_text("control: {url: 'http://10.66.0.3:9847', scope_id: ours, token_file: token}\n")
    (folder / "token").write_text("secret-one\n")
    return load(Options(config=config), {"HOME": str(home), **environ}).disagreements


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of this repository's own folder counts."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


def test_each_difference_is_found_with_its_places(tmp_path: Path) -> None:
    """Scope and URL with their values, and a token without."""
    text = "VOX_MESH_SCOPE_ID=theirs\nVOX_MESH_CONTROL_ADDR=10.66.0.9:9847\nVOX_MESH_TOKEN=secret-two\n"
    scope, url, token = found(tmp_path, {}, text)
    assert (scope.what, scope.values) == ("scope id", ("ours", "theirs"))
    assert (url.what, url.values) == ("control URL", ("http://10.66.0.3:9847", "http://10.66.0.9:9847"))
    assert (token.what, token.values) == ("token", ())
    assert all("mesh.env" in each.others[0] for each in (scope, url, token))
    assert "secret" not in repr((scope, url, token))


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({}, "VOX_MESH_SCOPE_ID=ours\nVOX_MESH_TOKEN=secret-one\nVOX_MESH_CONTROL_ADDR=http://10.66.0.3:9847/\n"),
        ({}, "VOX_MESH_CONTROL_ADDR=http://127.0.0.1:9847\n"),
        ({}, "VOX_MESH_CONTROL_ADDR=0.0.0.0:9847\n"),
        ({"VOX_MESH_SCOPE_ID": "theirs"}, "VOX_MESH_SCOPE_ID=theirs\n"),
        ({"VOX_MESH_TOKEN": "secret-two"}, "VOX_MESH_TOKEN=secret-two\n"),
    ],
)
def test_what_agrees_is_silent(tmp_path: Path, environ: dict[str, str], text: str) -> None:
    """Another spelling of the URL, a server's own address in its own file, and what a variable overrides."""
    assert found(tmp_path, environ, text) == ()
