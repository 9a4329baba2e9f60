"""The bearer that a worker would send, and the one-time token: which place wins, and what is kept out of requests."""

from pathlib import Path
from typing import Any

import pytest

from preflight.settings.load import Options, Settings, load
from preflight.settings.secrets import known_secrets
from tests.proto.control.test_token_text import jwt

WORKER = "VOX_MESH_WORKER_TOKEN"


def loaded(folder: Path, environ: dict[str, str], token: bytes | None = b"of-the-file\n", **options: Any) -> Settings:
    config = folder / "preflight.yaml"
    config.write_text("control: {token_file: token}\n" if token is not None else "node: {id: a}\n")
    if token is not None:
        (folder / "token").write_bytes(token)
    return load(Options(config=config, **options), environ)


def sent(settings: Settings) -> str | None:
    token = settings.secrets.token
    return token.get_secret_value() if token else None


def test_which_bearer_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' variable, then the settings' file, then the workers' files; each is known with its place."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".vox/populi").mkdir(parents=True)
    (tmp_path / ".vox/populi/mesh.env").write_text("VOX_MESH_TOKEN=of-mesh-env\n")
    both = loaded(tmp_path, {"VOX_MESH_TOKEN": " of-a-variable "})
    assert sent(both) == "of-a-variable"
    assert [held.source.split()[0] for held in both.secrets.bearers] == [
        "VOX_MESH_TOKEN",
        "control.token_file",
        "VOX_MESH_TOKEN",
    ]
    assert sent(loaded(tmp_path, {})) == "of-the-file"
    assert sent(loaded(tmp_path, {}, token=None)) == "of-mesh-env"


def test_a_bearer_behind_export_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do not read it; it counts as a bearer only where there is no other, and no report shows it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".vox/populi").mkdir(parents=True)
    (tmp_path / ".vox/populi/mesh.env").write_text('export VOX_MESH_TOKEN="of-a-shell"\n')
    only = loaded(tmp_path, {}, token=None)
    assert sent(only) is None
    (held,) = only.secrets.bearers
    assert held.trouble is not None
    assert held.trouble.cleaned_by == ("export", "quotes")
    assert "of-a-shell" in known_secrets(only, {})
    assert sent(loaded(tmp_path, {})) == "of-the-file"
    assert [each.trouble for each in loaded(tmp_path, {}).secrets.bearers] == [None]


def test_a_token_of_a_role_is_not_sent_as_a_bearer(tmp_path: Path) -> None:
    """Workers read one variable; a token in another one is known, so that a check can say so."""
    settings = loaded(tmp_path, {WORKER: "of-a-worker"}, token=None)
    assert sent(settings) is None
    assert settings.secrets.only_for_workers == WORKER
    assert loaded(tmp_path, {WORKER: "of-a-worker"}).secrets.only_for_workers is None


@pytest.mark.parametrize("raw", [b"\n", b"", b'"quoted"\n', b"\xef\xbb\xbfbom\n", b"crlf\r\n", b"\xff\xfex\0"])
def test_a_malformed_bearer_is_no_error_of_the_settings(tmp_path: Path, raw: bytes) -> None:
    """It gives a report, and nothing to send; also an empty file does."""
    settings = loaded(tmp_path, {}, token=raw)
    assert sent(settings) is None
    assert settings.secrets.bearers[0].trouble is not None


def test_a_variable_with_a_line_end_of_windows_is_malformed(tmp_path: Path) -> None:
    """Blanks around a variable are taken away by workers and servers; a CR is not, and no header can carry it."""
    held = loaded(tmp_path, {"VOX_MESH_TOKEN": "secret\r"}).secrets.bearers[0]
    assert held.trouble is not None
    assert held.trouble.problem == "CR LF"


@pytest.mark.parametrize(
    ("raw", "environ", "problem"),
    [
        (b"of-the-file\n", {}, "mesh token"),
        (b"of-a-worker\n", {WORKER: "of-a-worker"}, "worker token"),
        (b"of-a-submitter\n", {"VOX_MESH_SUBMITTER_TOKEN": "of-a-submitter"}, "submitter token"),
        (b"'one-time'\n", {}, "quotes"),
        (b"\n", {}, "empty"),
        (b"one-time\n", {}, None),
    ],
)
def test_a_one_time_token_is_judged_before_it_is_sent(
    tmp_path: Path, raw: bytes, environ: dict[str, str], problem: str | None
) -> None:
    """What this node holds otherwise, and what cannot be a token, is never handed to an exchange."""
    (tmp_path / "boot").write_bytes(raw)
    options: dict[str, Any] = {
        "enroll": True,
        "bootstrap_token_file": tmp_path / "boot",
        "credentials_out": tmp_path / "c",
    }
    enrolment = loaded(tmp_path, environ, **options).enrolment
    assert enrolment is not None
    assert enrolment.brings_token
    assert enrolment.bootstrap is not None
    trouble = enrolment.bootstrap.trouble
    assert (trouble.problem if trouble else None) == problem
    assert (enrolment.bootstrap_token is None) is (problem is not None)


def test_a_bearer_that_is_accepted_once_is_kept_out_of_all_checks(tmp_path: Path) -> None:
    """Protects a JWT from a check that would use it up: only an enrolment, which needs it, takes it."""
    once = jwt(jti="1", role="worker")
    secrets = loaded(tmp_path, {"VOX_MESH_TOKEN": once, "VOX_MESH_SUBMITTER_TOKEN": once}).secrets
    assert (secrets.token, secrets.submitter_token) == (None, None)
    assert secrets.once is not None
    assert secrets.once.get_secret_value() == once
    assert loaded(tmp_path, {"VOX_MESH_TOKEN": jwt(role="worker")}).secrets.token is not None


def test_the_report_shows_no_part_of_a_malformed_token(tmp_path: Path) -> None:
    """What is inside the quotes is a secret as well."""
    known = known_secrets(loaded(tmp_path, {"VOX_MESH_TOKEN": "'in-a-variable'"}, token=b'X="in-a-file"\r\n'), {})
    assert "in-a-file" in known
    known = known_secrets(loaded(tmp_path, {}), {"VOX_MESH_TOKEN": "'in-a-variable'"})
    assert "in-a-variable" in known
