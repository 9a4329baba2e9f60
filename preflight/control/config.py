"""The server's configuration: VOX_MESH_* variables override the YAML file's `control_plane`; one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from preflight.control.auth import Bearers, Role
from preflight.control.signers import Signers
from preflight.settings.reading import SettingsError, find_secret, read_variable
from preflight.settings.schema import ControlPlaneSettings

DEFAULT_BODY_BYTES = 512 * 1024
BODY_BYTES = (2 * 1024, 8 * 1024 * 1024)
DEFAULT_LEASE_MS = 120_000
LEASE_MS = (1_000, 3_600_000)
DEFAULT_MESSAGES = 50_000
MESSAGES = (1, 500_000)
DEFAULT_PER_SECOND = 50
RATE = (1, 100_000)
SHORTEST_JWT_SECRET = 32  # bytes; RFC 7518, section 3.2
SHORTEST_TOKEN = 16
_U64_DIGITS = 20


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """The one-time token and its deadline, Unix milliseconds."""

    token: str = field(repr=False)
    expires_unix_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests that one client address may send: a steady rate, and how many at once."""

    per_second: int
    burst: int


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Everything except addresses and files; `repr` hides secrets."""

    bearers: Bearers = Bearers()
    bootstrap: BootstrapToken | None = None
    scope_id: str | None = None
    max_body_bytes: int = DEFAULT_BODY_BYTES
    lease_ms: int = DEFAULT_LEASE_MS
    max_messages: int = DEFAULT_MESSAGES
    stale_prune_ms: int | None = None
    rate: Rate | None = None
    max_connections: int | None = None
    max_connections_per_client: int | None = None
    like_upstream: bool = False
    """Whether it has the traps of the real server: any exchange spends the one-time token; there is no rate limiter."""
    signers: Signers = "nobody"
    """Whose signature is as good as a bearer."""
    warnings: tuple[str, ...] = ()
    """Warnings for the operator about these settings."""

    @property
    def mesh_token(self) -> str | None:
        """The bearer that a bootstrap token is exchanged for."""
        return self.bearers.tokens.get(Role.MESH)


def like_upstream(config: ServerConfig, now_ms: int, environ: Mapping[str, str]) -> ServerConfig:
    """The same with the traps of the real server.

    A deadline that has passed when it starts is dropped. Without a node id it does not ask whom to trust, and takes
    what anyone signed.
    """
    bootstrap = config.bootstrap
    if bootstrap is not None and bootstrap.expires_unix_ms is not None and bootstrap.expires_unix_ms <= now_ms:
        bootstrap = replace(bootstrap, expires_unix_ms=None)
    signers: Signers = "trusted" if read_variable(environ, "VOX_MESH_NODE_ID") else "everybody"
    return replace(config, bootstrap=bootstrap, rate=None, like_upstream=True, signers=signers)


def server_config(settings: ControlPlaneSettings, environ: Mapping[str, str]) -> ServerConfig:
    """Build the configuration. Values out of range: the body cap falls back to its default, the others are clamped.

    Raises SettingsError for an unreadable secret file and for a deadline that is not a number: without it the
    one-time token would never expire.
    """
    numbers = _Numbers(environ)
    bearers = _bearers(settings, environ)
    body = numbers.get("VOX_MESH_HTTP_MAX_BODY_BYTES", settings.max_body_bytes, DEFAULT_BODY_BYTES)
    stale = numbers.get("VOX_MESH_SERVER_STALE_PRUNE_MS", settings.server_stale_prune_ms, 0)
    bootstrap = _bootstrap(settings, environ)
    return ServerConfig(
        bearers=bearers,
        bootstrap=bootstrap,
        scope_id=read_variable(environ, "VOX_MESH_SCOPE_ID") or (settings.scope_id or "").strip() or None,
        max_body_bytes=body if BODY_BYTES[0] <= body <= BODY_BYTES[1] else DEFAULT_BODY_BYTES,
        lease_ms=_clamp(numbers.get("VOX_MESH_A2A_LEASE_MS", settings.lease_ms, DEFAULT_LEASE_MS), LEASE_MS),
        max_messages=_clamp(
            numbers.get("VOX_MESH_A2A_MAX_MESSAGES", settings.max_messages, DEFAULT_MESSAGES), MESSAGES
        ),
        stale_prune_ms=stale if stale > 0 else None,
        rate=_rate(settings, environ, numbers),
        max_connections=settings.max_connections,
        max_connections_per_client=settings.max_connections_per_client,
        warnings=(*_weaknesses(bearers, bootstrap), *numbers.ignored),
    )


class _Numbers:
    """Reads integers from the environment and records the variables with invalid values."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.ignored: list[str] = []

    def get(self, variable: str, setting: int | None, default: int) -> int:
        fallback = default if setting is None else setting
        raw = read_variable(self._environ, variable)
        if raw is None:
            return fallback
        if raw.isascii() and raw.isdigit() and len(raw) < 19:
            return int(raw)
        self.ignored.append(f"{variable} is not a whole number; using {fallback}")
        return fallback


def _bearers(settings: ControlPlaneSettings, environ: Mapping[str, str]) -> Bearers:
    sources = {
        Role.MESH: ("VOX_MESH_TOKEN", settings.token_file, "token_file"),
        Role.WORKER: ("VOX_MESH_WORKER_TOKEN", settings.worker_token_file, "worker_token_file"),
        Role.SUBMITTER: ("VOX_MESH_SUBMITTER_TOKEN", settings.submitter_token_file, "submitter_token_file"),
        Role.ADMIN: ("VOX_MESH_ADMIN_TOKEN", settings.admin_token_file, "admin_token_file"),
    }
    tokens = {role: secret for role, source in sources.items() if (secret := _secret(environ, *source))}
    return Bearers(tokens, _secret(environ, "VOX_MESH_JWT_HMAC_SECRET", settings.jwt_secret_file, "jwt_secret_file"))


def _bootstrap(settings: ControlPlaneSettings, environ: Mapping[str, str]) -> BootstrapToken | None:
    token = _secret(environ, "VOX_MESH_BOOTSTRAP_TOKEN", settings.bootstrap_token_file, "bootstrap_token_file")
    if token is None:
        return None
    raw = read_variable(environ, "VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS")
    if raw is not None and not (raw.isascii() and raw.isdigit() and len(raw) <= _U64_DIGITS):
        raise SettingsError("VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS is not a whole number of milliseconds")
    return BootstrapToken(token, settings.bootstrap_expires_unix_ms if raw is None else int(raw))


def _rate(settings: ControlPlaneSettings, environ: Mapping[str, str], numbers: _Numbers) -> Rate | None:
    switch = read_variable(environ, "VOX_MESH_HTTP_RATE_LIMIT")
    enabled = settings.rate_limit.enabled if switch is None else switch.lower() in {"1", "true", "on", "yes"}
    if not enabled:
        return None
    per_second = numbers.get("VOX_MESH_HTTP_RATE_LIMIT_PER_SEC", settings.rate_limit.per_second, DEFAULT_PER_SECOND)
    per_second = _clamp(per_second, RATE)
    burst = numbers.get("VOX_MESH_HTTP_RATE_LIMIT_BURST", settings.rate_limit.burst, 2 * per_second)
    return Rate(per_second, _clamp(burst, RATE))


def _weaknesses(bearers: Bearers, bootstrap: BootstrapToken | None) -> list[str]:
    """Weaknesses of the secrets, without showing any."""
    found = []
    if not bearers.required:
        found.append("no secret is set: anyone who reaches this server controls it; set VOX_MESH_TOKEN")
    for role, token in bearers.tokens.items():
        if len(token) < SHORTEST_TOKEN:
            found.append(f"the {role} token is shorter than {SHORTEST_TOKEN} characters")
        twin = next((other for other in bearers.tokens if other > role and bearers.tokens[other] == token), None)
        if twin is not None:
            found.append(f"the {role} and the {twin} token are equal: its role is one of the two")
    if bearers.jwt_secret is not None and len(bearers.jwt_secret.encode()) < SHORTEST_JWT_SECRET:
        found.append(f"the JWT secret is shorter than {SHORTEST_JWT_SECRET} bytes")
    if bootstrap is not None and Role.MESH not in bearers.tokens:
        found.append("a bootstrap token is set but no VOX_MESH_TOKEN: exchanges will answer 503")
    if bootstrap is not None and bootstrap.expires_unix_ms is None:
        found.append("the bootstrap token has no deadline; set VOX_MESH_BOOTSTRAP_EXPIRES_UNIX_MS")
    return found


def _secret(environ: Mapping[str, str], variable: str, path: Path | None, key: str) -> str | None:
    value = find_secret(environ, (variable,), path, f"control_plane.{key}")
    return value.strip() if value else None


def _clamp(value: int, limits: tuple[int, int]) -> int:
    return min(max(value, limits[0]), limits[1])
