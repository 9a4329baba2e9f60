"""Which secrets a run knows, so that none of them gets into its report."""

from pathlib import Path

from preflight.settings.load import Options, load
from preflight.settings.secrets import known_secrets, secret_files


def test_every_secret_file_is_known_to_the_pass_that_takes_secrets_out(tmp_path: Path) -> None:
    """Also one that a variable overrides, the control plane's own, and the credential that was bought a moment ago."""
    for name in ("token", "admin"):
        (tmp_path / name).write_text(f"{name}-secret-of-the-tests\n")
    (tmp_path / "bought").write_text("VOX_MESH_TOKEN='bought secret'\nVOX_MESH_SCOPE_ID=lab\n")
    path = tmp_path / "preflight.yaml"
    path.write_text("control: {token_file: token}\ncontrol_plane: {admin_token_file: admin, token_file: gone}\n")
    environ = {"VOX_MESH_TOKEN": "another-secret-of-the-tests"}
    settings = load(Options(config=path, enroll=True, credentials_out=tmp_path / "bought"), environ)
    known = set(known_secrets(settings, environ))
    assert known == {
        "another-secret-of-the-tests",
        "token-secret-of-the-tests",
        "admin-secret-of-the-tests",
        "bought secret",
    }


def test_a_key_that_a_variable_overrides_is_known_too(tmp_path: Path) -> None:
    """The key of the file is as secret as the one in use; a key that is not text is known in hexadecimal."""
    (tmp_path / "k").write_text("key-of-the-file-that-is-overridden\n")
    (tmp_path / "used").write_bytes(bytes(range(0xE0, 0x100)))
    path = tmp_path / "preflight.yaml"
    path.write_text("responder: {key_file: k}\n")
    environ = {"PREFLIGHT_RESPONDER_KEY_FILE": str(tmp_path / "used")}
    known = known_secrets(load(Options(config=path), environ), environ)
    assert set(known) == {"key-of-the-file-that-is-overridden", bytes(range(0xE0, 0x100)).hex()}


def test_a_certificate_is_no_secret_file(tmp_path: Path) -> None:
    """Everyone may read it, and it is often long: nobody needs a report searched for it."""
    path = tmp_path / "preflight.yaml"
    (tmp_path / "k").write_text("0123456789abcdef")
    path.write_text("control: {ca_file: ca.pem, submitter_token_file: k}\nresponder: {key_file: k}\n")
    files = secret_files(load(Options(config=path), {}))
    assert files == {"control.submitter_token_file": tmp_path / "k", "responder.key_file": tmp_path / "k"}
