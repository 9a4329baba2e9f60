"""Settings: options over environment over YAML over what is detected, as frozen models.

`preflight.settings.schema` is what the file says; `Settings` adds what files never hold: secrets read from files or
environment, and what this run was asked to do.
"""

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from preflight.model.peer import Peer
from preflight.proto.control.url import ControlUrlError, normalise, refuse_secrets
from preflight.settings.schema import (
    CheckSettings,
    ConfigFile,
    ControlPlaneSettings,
    ControlSettings,
    Model,
    NodeSettings,
    OverlaySettings,
    PeerSettings,
    PostureSettings,
    RateLimit,
    ReportSettings,
    ResponderSettings,
    RttThresholds,
    SettingsError,
    StunSettings,
    Thresholds,
    config_schema,
    read_config,
    read_key,
    read_secret,
)

__all__ = [
    "CONTROL_URL_VARIABLES",
    "SECRET_VARIABLES",
    "CheckSettings",
    "ConfigFile",
    "ControlPlaneSettings",
    "ControlSettings",
    "Enrolment",
    "Model",
    "NodeSettings",
    "Options",
    "OverlaySettings",
    "PeerSettings",
    "PostureSettings",
    "RateLimit",
    "ReportSettings",
    "ResponderSettings",
    "RttThresholds",
    "Secrets",
    "Settings",
    "SettingsError",
    "StunSettings",
    "Thresholds",
    "config_schema",
    "control_url_of",
    "find_config",
    "known_secrets",
    "load",
    "read_config",
    "read_key",
    "read_secret",
]


@dataclass(frozen=True, slots=True)
class Secrets:
    """Credentials of this run; never in a report, a log or an exception text (`SecretStr` hides its value)."""

    token: SecretStr | None = None
    submitter_token: SecretStr | None = None
    responder_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What `--enroll` asked for. Without a bootstrap token the node joins with the token it has."""

    bootstrap_token: SecretStr | None = None
    credentials_out: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a run knows before it looks at the network."""

    node: NodeSettings = NodeSettings()
    peers: tuple[Peer, ...] = ()
    control: ControlSettings = ControlSettings()
    control_url_source: str | None = None
    responder: ResponderSettings = ResponderSettings()
    overlay: OverlaySettings = OverlaySettings()
    stun: StunSettings = StunSettings()
    checks: CheckSettings = CheckSettings()
    thresholds: Thresholds = Thresholds()
    report: ReportSettings = ReportSettings()
    posture: PostureSettings = PostureSettings()
    control_plane: ControlPlaneSettings = ControlPlaneSettings()
    secrets: Secrets = Secrets()
    enrolment: Enrolment | None = None
    intrusive: bool = False
    source: Path | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said; None means that it did not say."""

    config: Path | None = None
    peers: tuple[Peer, ...] = ()
    control_url: str | None = None
    redact: tuple[Literal["addresses"], ...] = ()
    enroll: bool = False
    intrusive: bool = False
    bootstrap_token_file: Path | None = None
    credentials_out: Path | None = None


def find_config(environ: Mapping[str, str]) -> Path | None:
    """The settings file that applies when none is named: ./preflight.yaml, then the user's config directory."""
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    return next(filter(_there, (Path("preflight.yaml"), home / "preflight" / "preflight.yaml")), None)


def _there(path: Path) -> bool:
    """Whether a file is there, as far as this user may look: somebody else's home directory has none for us."""
    try:
        return path.exists()
    except PermissionError:
        return False


CONTROL_URL_VARIABLES = ("PREFLIGHT_CONTROL_URL", "VOX_ORCHESTRATOR_MESH_CONTROL_URL", "VOX_MESH_CONTROL_ADDR")


def load(options: Options, environ: Mapping[str, str] | None = None) -> Settings:
    """Put the settings together, strongest source first. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    named = environ.get("PREFLIGHT_CONFIG")
    source = options.config or (Path(named) if named else find_config(environ))
    config = read_config(source) if source else ConfigFile()
    url, url_source = _control_url(options, environ, config, source)
    control = config.control.model_copy(
        update={
            "url": url,
            "scope_id": _environment(environ, "PREFLIGHT_SCOPE_ID", "VOX_MESH_SCOPE_ID") or config.control.scope_id,
            "timeout_ms": _timeout_ms(environ) or config.control.timeout_ms,
        }
    )
    labels = environ.get("VOX_MESH_LABELS")
    node = config.node.model_copy(
        update={
            "id": _environment(environ, "PREFLIGHT_NODE_ID", "VOX_MESH_NODE_ID") or config.node.id,
            "labels": tuple(filter(None, map(str.strip, labels.split(",")))) if labels else config.node.labels,
        }
    )
    peers = options.peers or tuple(
        Peer(address=p.address, name=p.name, responder_port=p.responder, agent_id=p.agent_id) for p in config.peers
    )
    _refuse_twins(peers)
    return Settings(
        node=node,
        peers=peers,
        control=control,
        control_url_source=url_source,
        responder=config.responder,
        overlay=config.overlay,
        stun=config.stun,
        checks=config.checks,
        thresholds=_thresholds(config, environ),
        report=config.report.model_copy(update={"redact": tuple({*config.report.redact, *options.redact})}),
        posture=config.posture,
        control_plane=config.control_plane,
        secrets=_secrets(config, environ),
        intrusive=options.intrusive,
        enrolment=_enrolment(options, environ),
        source=source,
    )


def _environment(environ: Mapping[str, str], *names: str) -> str | None:
    return next((value for name in names if (value := environ.get(name, "").strip())), None)


def control_url_of(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The control URL that the environment holds, and its variable. Raises SettingsError for one with a secret."""
    name = next((name for name in CONTROL_URL_VARIABLES if environ.get(name, "").strip()), None)
    if name is None:
        return None, None
    try:
        refuse_secrets(environ[name])
    except ControlUrlError as error:
        raise SettingsError(f"{name}: the control URL cannot be used: {error}") from None
    return environ[name], name


def _control_url(
    options: Options, environ: Mapping[str, str], config: ConfigFile, source: Path | None
) -> tuple[str | None, str | None]:
    """The raw control URL and where it came from; normalised by `control.url`, which must see what was written.

    An option that cannot be right is the caller's mistake; the same from elsewhere is a finding about this node.
    """
    if options.control_url is not None:
        _refuse_unusable(options.control_url)
        return options.control_url, "--control-url"
    url, name = control_url_of(environ)
    if url is not None:
        return url, name
    return config.control.url, f"{source}" if config.control.url is not None else None


def _refuse_unusable(url: str) -> None:
    """A server's bind address is left to `control.url`, which has a page about it."""
    try:
        normalise(url)
    except ControlUrlError as error:
        if not error.bind_all:
            raise SettingsError(f"--control-url cannot be used: {error}") from None


def _timeout_ms(environ: Mapping[str, str]) -> int | None:
    raw = _whole(environ, "VOX_ORCHESTRATOR_MESH_HTTP_TIMEOUT_MS")
    return None if raw is None else max(500, raw)


def _thresholds(config: ConfigFile, environ: Mapping[str, str]) -> Thresholds:
    stale_ms = _whole(environ, "VOX_MESH_MAX_STALE_MS")
    return config.thresholds.model_copy(update={"stale_ms": stale_ms} if stale_ms else {})


def _whole(environ: Mapping[str, str], name: str) -> int | None:
    """A number of milliseconds as the workers read it: what is none, or longer than months, is not set."""
    raw = environ.get(name, "").strip()
    return int(raw) if raw.isdecimal() and len(raw) <= 10 else None


def _secrets(config: ConfigFile, environ: Mapping[str, str]) -> Secrets:
    def bearer(path: Path | None, what: str, *names: str) -> SecretStr | None:
        value = _environment(environ, *names)
        if value is None and path is not None:
            value = read_secret(path, what)
        return SecretStr(value) if value else None

    key_file = environ.get("PREFLIGHT_RESPONDER_KEY_FILE")
    path = Path(key_file) if key_file else config.responder.key_file
    return Secrets(
        token=bearer(config.control.token_file, "control.token_file", "VOX_MESH_TOKEN", "VOX_MESH_WORKER_TOKEN"),
        submitter_token=bearer(
            config.control.submitter_token_file, "control.submitter_token_file", "VOX_MESH_SUBMITTER_TOKEN"
        ),
        responder_key=read_key(path) if path else None,
    )


SECRET_VARIABLES = (
    "VOX_MESH_TOKEN",
    "VOX_MESH_WORKER_TOKEN",
    "VOX_MESH_SUBMITTER_TOKEN",
    "VOX_MESH_ADMIN_TOKEN",
    "VOX_MESH_JWT_HMAC_SECRET",
    "VOX_MESH_BOOTSTRAP_TOKEN",
)


def known_secrets(settings: Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Every secret value of this run, used or not, for the pass that takes them out of the report."""
    secrets, enrolment = settings.secrets, settings.enrolment
    bearers = (secrets.token, secrets.submitter_token, enrolment.bootstrap_token if enrolment else None)
    key = _written(secrets.responder_key or b"")
    return tuple(
        filter(
            None,
            (
                *(bearer.get_secret_value() for bearer in bearers if bearer),
                key,
                *(environ.get(name, "").strip() for name in SECRET_VARIABLES),
                *_in_files(settings),
            ),
        )
    )


def _written(key: bytes) -> str:
    """A key as text; in hexadecimal where it is none, as it is looked for in every other encoding too."""
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        return key.hex()


def _in_files(settings: Settings) -> Iterator[str]:
    """What the secret files hold that are there, and the credential that this run may have bought."""
    for section in (settings.control, settings.control_plane):
        for name, path in section:
            if isinstance(path, Path) and name != "ca_file":
                yield _quietly(path)
    bought = settings.enrolment.credentials_out if settings.enrolment else None
    try:
        # Whatever else has that name is not written to, and reading a pipe or a device may never end.
        words = shlex.split(_quietly(bought), comments=True) if bought and bought.is_file() else []
    except (OSError, ValueError):  # somebody else's file of that name, or a folder of theirs
        words = []
    yield from (word.partition("VOX_MESH_TOKEN=")[2] for word in words)


def _quietly(path: Path) -> str:
    try:
        return read_secret(path, path.name)
    except SettingsError:
        return ""


def _enrolment(options: Options, environ: Mapping[str, str]) -> Enrolment | None:
    if not options.enroll:
        if options.bootstrap_token_file or options.credentials_out:
            raise SettingsError("--bootstrap-token-file and --credentials-out go with --enroll")
        return None
    token = None
    if options.bootstrap_token_file:
        token = read_secret(options.bootstrap_token_file, "--bootstrap-token-file")
    else:
        token = _environment(environ, "VOX_MESH_BOOTSTRAP_TOKEN")
    if token and not options.credentials_out:
        raise SettingsError(
            "a bootstrap token is good for one exchange: name with --credentials-out FILE "
            "where the credential that it buys is to be kept"
        )
    return Enrolment(
        bootstrap_token=SecretStr(token) if token else None,
        credentials_out=options.credentials_out,
    )


def _refuse_twins(peers: tuple[Peer, ...]) -> None:
    for attribute, words in (("address", "have the address"), ("target", "are called")):
        values = [getattr(peer, attribute) for peer in peers]
        twin = next((value for value in values if values.count(value) > 1), None)
        if twin is not None:
            raise SettingsError(f"two peers {words} {twin}; each needs its own address and name")
