"""The server's configuration: environment over file, limits, and warnings."""

from pathlib import Path
from typing import Any

import pytest

from preflight.control.auth import Role
from preflight.control.config import Rate, ServerConfig, server_config
from preflight.settings.reading import SettingsError
from preflight.settings.schema import ControlPlaneSettings


def configured(environ: dict[str, str] | None = None, **settings: Any) -> ServerConfig:
    return server_config(ControlPlaneSettings(**settings), environ or {})


def test_without_anything_it_is_open_and_has_the_contracts_defaults() -> None:
    """512 KiB, 120 s, 50 000 messages, nothing hidden, no rate limit; and it says that it is open."""
    config = configured()
    assert not config.bearers.required
    assert (config.max_body_bytes, config.lease_ms, config.max_messages) == (524288, 120000, 50000)
    assert (config.stale_prune_ms, config.rate, config.scope_id, config.bootstrap) == (None, None, None, None)
    assert "anyone" in config.warnings[0]


@pytest.mark.parametrize(
    ("variable", "attribute", "cases"),
    [
        (
            "VOX_MESH_HTTP_MAX_BODY_BYTES",
            "max_body_bytes",
            {"2048": 2048, "8388608": 8388608, "2047": 524288, "8388609": 524288, "0": 524288, "x": 524288},
        ),
        ("VOX_MESH_A2A_LEASE_MS", "lease_ms", {"999": 1000, "5000": 5000, "99999999": 3600000, "x": 120000}),
        ("VOX_MESH_A2A_MAX_MESSAGES", "max_messages", {"0": 1, "7": 7, "9999999": 500000, "-1": 50000, " 8 ": 8}),
        ("VOX_MESH_SERVER_STALE_PRUNE_MS", "stale_prune_ms", {"0": None, "": None, "9": 9, "x": None}),
    ],
)
def test_limits(variable: str, attribute: str, cases: dict[str, int | None]) -> None:
    """Out of range the body cap falls back to its default, the others are clamped; nonsense is ignored and reported."""
    for text, expected in cases.items():
        config = configured({variable: text})
        assert getattr(config, attribute) == expected, text
        assert any(variable in warning for warning in config.warnings) == (text in {"x", "-1"})


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Secrets and numbers alike; what the environment does not say comes from the file."""
    for name in ("mesh", "admin"):
        (tmp_path / name).write_text(f" {name}-from-the-file \n")
    settings = {
        "token_file": tmp_path / "mesh",
        "admin_token_file": tmp_path / "admin",
        "lease_ms": 7000,
        "max_messages": 9,
        "scope_id": "file",
    }
    environ = {"VOX_MESH_TOKEN": " from-the-environment ", "VOX_MESH_A2A_LEASE_MS": "8000", "VOX_MESH_SCOPE_ID": " "}
    config = configured(environ, **settings)
    assert config.bearers.tokens == {Role.MESH: "from-the-environment", Role.ADMIN: "admin-from-the-file"}
    assert (config.lease_ms, config.max_messages, config.scope_id) == (8000, 9, "file")


def test_a_secret_file_that_is_missing_is_named(tmp_path: Path) -> None:
    """Better no server than an open one."""
    with pytest.raises(SettingsError, match="worker_token_file"):
        configured(worker_token_file=tmp_path / "missing")


@pytest.mark.parametrize(
    ("switch", "on"),
    [("1", True), ("TRUE", True), ("on", True), ("yes", True), ("0", False), ("off", False), ("", False)],
)
def test_the_rate_limit_is_off_unless_switched_on(switch: str, on: bool) -> None:
    """Default 50 a second, twice that at once."""
    assert configured({"VOX_MESH_HTTP_RATE_LIMIT": switch}).rate == (Rate(50, 100) if on else None)


def test_rates_are_clamped() -> None:
    """A rate of zero would lock everyone out."""
    environ = {
        "VOX_MESH_HTTP_RATE_LIMIT": "on",
        "VOX_MESH_HTTP_RATE_LIMIT_PER_SEC": "0",
        "VOX_MESH_HTTP_RATE_LIMIT_BURST": "5",
    }
    assert configured(environ).rate == Rate(1, 5)


@pytest.mark.parametrize("expires", ["tomorrow", "9" * 5000])
def test_a_bootstrap_deadline_that_is_no_number_is_an_error(expires: str) -> None:
    """Ignoring it would make a token that never dies."""
    environ = {"VOX_MESH_BOOTSTRAP_TOKEN": "x", "VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS": expires}
    with pytest.raises(SettingsError, match="EXPIRES"):
        configured(environ)


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({"VOX_MESH_TOKEN": "hunter2"}, "shorter than"),
        ({"VOX_MESH_WORKER_TOKEN": "x" * 20, "VOX_MESH_ADMIN_TOKEN": "x" * 20}, "are equal"),
        ({"VOX_MESH_JWT_HMAC_SECRET": "x" * 20}, "JWT secret"),
        ({"VOX_MESH_WORKER_TOKEN": "x" * 20, "VOX_MESH_BOOTSTRAP_TOKEN": "b" * 20}, "503"),
        ({"VOX_MESH_TOKEN": "x" * 20, "VOX_MESH_BOOTSTRAP_TOKEN": "b" * 20}, "no deadline"),
    ],
)
def test_weak_secrets_are_reported_and_not_shown(environ: dict[str, str], word: str) -> None:
    """The operator learns which, not what."""
    config = configured(environ)
    assert any(word in warning for warning in config.warnings)
    for secret in environ.values():
        assert secret not in " ".join(config.warnings)
        assert secret not in repr(config)


def test_sound_secrets_give_no_warning() -> None:
    """There is no false alarm."""
    assert configured({"VOX_MESH_TOKEN": "x" * 40, "VOX_MESH_WORKER_TOKEN": "y" * 40}).warnings == ()
