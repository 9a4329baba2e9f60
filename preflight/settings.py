"""Settings: options over environment over YAML over what is detected, as frozen models.

`ConfigFile` is exactly what the YAML file may hold (its JSON Schema is `preflight schema config`); `Settings` adds
what files never hold: secrets read from files or environment, and what this run was asked to do.
"""

import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from preflight.api import Peer
from preflight.proto.stun import read_server

IPNetwork = IPv4Network | IPv6Network
DEFAULT_RESPONDER_PORT = 862  # RFC 8762 section 4.1
MINIMUM_KEY_BYTES = 16


class SettingsError(Exception):
    """A configuration that cannot be used; the text names the thing and what to do."""


class Model(BaseModel):
    """Frozen, and strict about names: an unknown key is a mistake of the author's."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _address(value: str) -> str:
    try:
        return str(ip_address(value.strip().strip("[]")))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address") from None


Address = Annotated[str, AfterValidator(_address)]
Milliseconds = Annotated[float, Field(gt=0)]
Percent = Annotated[float, Field(ge=0, le=100)]


class NodeSettings(Model):
    """This node."""

    id: str | None = Field(None, description="Stable node id; without one an enrolment uses a random one.")
    labels: tuple[str, ...] = Field((), description="Labels sent with a join, as pool=infer.")


class PeerSettings(Model):
    """One peer on the overlay."""

    address: Address = Field(description="Its overlay address.")
    name: str = Field("", description="How results call it; its address if empty.")
    responder: int = Field(DEFAULT_RESPONDER_PORT, ge=1, le=65535, description="UDP port of its responder.")
    agent_id: Annotated[str, BeforeValidator(str)] | None = Field(
        None, pattern=r"^\d+$", description="Mailbox of its responder on the control plane (decimal digits)."
    )


class ControlSettings(Model):
    """The control plane, as a client sees it."""

    url: str | None = Field(None, description="Control URL; overlay address or name, never a LAN address.")
    scope_id: str | None = Field(None, description="Cluster id: the tenancy boundary.")
    token_file: Path | None = Field(None, description="File with the bearer of this node (mode 0600).")
    submitter_token_file: Path | None = Field(None, description="File with the submitter's bearer.")
    ca_file: Path | None = Field(None, description="PEM file with the CA that signed the server's certificate.")
    timeout_ms: int | None = Field(None, ge=500, description="Time-out of one request; default 15000.")


class ResponderSettings(Model):
    """The shared key with the peers' responders, and this node's own mailbox."""

    key_file: Path | None = Field(None, description="File with the shared key, at least 16 bytes.")
    agent_id: Annotated[str, BeforeValidator(str)] | None = Field(
        None, pattern=r"^\d+$", description="This node's mailbox on the control plane (decimal digits)."
    )
    port: int = Field(
        DEFAULT_RESPONDER_PORT, ge=1, le=65535, description="UDP port of this node's own responder: hellos come to it."
    )
    hellos: bool = Field(
        True, description="Whether a responder with a key says hello to the peers of this file every few seconds."
    )


class OverlaySettings(Model):
    """Which interface is the overlay; detected if not given."""

    interface: str | None = Field(None, description="Interface name, as wg0.")
    prefixes: tuple[IPNetwork, ...] = Field((), description="Overlay prefixes, as 10.66.0.0/24.")


def _stun_server(value: str) -> str:
    read_server(value)
    return value


class StunSettings(Model):
    """STUN servers (RFC 8489) of one's own choice; none is asked by default."""

    servers: tuple[Annotated[str, AfterValidator(_stun_server)], ...] = Field(
        (), max_length=8, description="HOST[:PORT] of each, outside the overlay; two at different places tell most."
    )


class CheckSettings(Model):
    """Which checks run."""

    skip: tuple[str, ...] = Field((), description="Globs of check ids that do not run.")
    third_party: bool = Field(True, description="Whether checks of other packages run.")
    pmtu: Literal["fast", "strict"] = Field(
        "fast", description="Path-MTU search: fast (bursts, five round trips) or strict (RFC 8899 timers, up to 60 s)."
    )
    nat_silence_s: tuple[Annotated[float, Field(gt=0, le=240)], ...] = Field(
        (25.0, 60.0, 120.0), description="Silences after which udp.nat-timeout has the peer send, in seconds."
    )


class RttThresholds(Model):
    """Round-trip times up to which a kind of work is comfortable, milliseconds."""

    interactive: Milliseconds = Field(150.0, description="Control-plane round trip of agent tasks and interactive use.")
    inference: Milliseconds = Field(150.0, description="Round trip to the peer that serves an inference.")
    training: Milliseconds = Field(50.0, description="Round trip up to which a pilot of long training is thinkable.")
    collectives: Milliseconds = Field(1.0, description="Round trip of a network that collectives are made for.")


class Thresholds(Model):
    """Beyond which a measurement becomes a finding."""

    loss_percent: Percent = Field(1.0, description="Packet loss from which it is a warning.")
    loss_fail_percent: Percent = Field(3.0, description="Packet loss from which it is a failure.")
    jitter_ms: Milliseconds = Field(30.0, description="Delay variation from which it is a warning.")
    reordering_percent: Percent = Field(1.0, description="Reordered packets from which it is a warning.")
    duplication_percent: Percent = Field(1.0, description="Duplicated packets from which it is a warning.")
    rtt_ms: RttThresholds = RttThresholds()
    control_rtt_ms: Milliseconds = Field(300.0, description="Control-plane round trip from which it counts as slow.")
    clock_skew_ms: Milliseconds = Field(5000.0, description="Clock difference from which it is a warning.")
    clock_skew_fail_ms: Milliseconds = Field(60000.0, description="Clock difference from which it is a failure.")
    certificate_days: int = Field(14, ge=0, description="Days before its expiry from which a certificate is a warning.")
    stale_ms: int = Field(90000, gt=0, description="Age of last_seen_unix_ms from which a node is stale.")
    minimum_mtu: int = Field(1280, ge=576, description="What the overlay must carry (IPv6 minimum: 1280).")


class ReportSettings(Model):
    """The report."""

    redact: tuple[Literal["addresses"], ...] = Field((), description="What is replaced by stand-ins.")


class PostureSettings(Model):
    """Where the posture checks look."""

    repositories: tuple[Path, ...] | None = Field(
        None,
        description="Folders whose git repositories are searched for committed secrets; without this key the working "
        "folder and the one of the settings file.",
    )


class RateLimit(Model):
    """Per-client-address rate limit of the bundled server."""

    enabled: bool = False
    per_second: int = Field(50, gt=0)
    burst: int | None = Field(None, gt=0)


class ControlPlaneSettings(Model):
    """The bundled control plane (`preflight control-plane serve`); the VOX_MESH_* variables win."""

    scope_id: str | None = None
    token_file: Path | None = None
    worker_token_file: Path | None = None
    submitter_token_file: Path | None = None
    admin_token_file: Path | None = None
    jwt_secret_file: Path | None = None
    bootstrap_token_file: Path | None = None
    bootstrap_expires_unix_ms: int | None = None
    max_body_bytes: int | None = None
    lease_ms: int | None = None
    max_messages: int | None = None
    server_stale_prune_ms: int | None = None
    rate_limit: RateLimit = RateLimit()


class ConfigFile(Model):
    """preflight.yaml; every key is optional, relative paths are relative to the file."""

    node: NodeSettings = NodeSettings()
    peers: tuple[PeerSettings, ...] = ()
    control: ControlSettings = ControlSettings()
    responder: ResponderSettings = ResponderSettings()
    overlay: OverlaySettings = OverlaySettings()
    stun: StunSettings = StunSettings()
    checks: CheckSettings = CheckSettings()
    thresholds: Thresholds = Thresholds()
    report: ReportSettings = ReportSettings()
    posture: PostureSettings = PostureSettings()
    control_plane: ControlPlaneSettings = ControlPlaneSettings()


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


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice: the second would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_config(path: Path) -> ConfigFile:
    """Read and check a settings file.

    Raises SettingsError with file, line and, for an unknown key, the nearest valid one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; write one with `preflight init`") from None
    except IsADirectoryError:
        raise SettingsError(f"{path}: is a directory, not a settings file") from None
    except PermissionError:
        raise SettingsError(f"{path}: not readable by this user") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text ({error.__class__.__name__})") from None
    try:
        root = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SettingsError(f"{path}:{line}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if data is None:
        return ConfigFile()
    if not isinstance(data, dict):
        raise SettingsError(f"{path}:1: expected `key: value` lines, got {type(data).__name__}")
    try:
        config = ConfigFile.model_validate(data)
    except ValidationError as error:
        raise SettingsError(_explain(path, root, error)) from None
    return _anchor(config, path.parent)


def _explain(path: Path, root: Any, error: ValidationError) -> str:
    """One line for each mistake: file, line, key, what is wrong, the nearest valid key."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        location = tuple(part for part in item["loc"] if not (isinstance(part, str) and part.startswith("function-")))
        dotted = ".".join(str(part) for part in location)
        line = _line_of(root, location)
        if item["type"] == "extra_forbidden":
            near = get_close_matches(str(location[-1]), _keys_at(location[:-1]), n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            lines.append(f"{path}:{line}: unknown key {dotted!r}{hint}")
        else:
            lines.append(f"{path}:{line}: {dotted}: {item['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)


def _line_of(node: Any, location: tuple[int | str, ...]) -> int:
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The valid keys of the model at a place in the file."""
    schema: Any = ConfigFile.model_json_schema()
    node = schema
    for part in location:
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return list(node.get("properties", {}))


def _anchor(config: ConfigFile, folder: Path) -> ConfigFile:
    """Make the paths of a file absolute: they are relative to the file, not to the caller's directory."""

    def absolute(path: Path) -> Path:
        return (folder / path.expanduser()).absolute()

    def anchored(model: Model) -> Model:
        updates: dict[str, Any] = {name: absolute(value) for name, value in model if isinstance(value, Path)}
        return model.model_copy(update=updates)

    posture = config.posture
    if posture.repositories is not None:
        posture = posture.model_copy(update={"repositories": tuple(map(absolute, posture.repositories))})
    sections = {name: anchored(getattr(config, name)) for name in ("control", "responder", "control_plane")}
    return config.model_copy(update={**sections, "posture": posture})


def read_secret(path: Path, what: str) -> str:
    """The text of a secret file without its trailing newline. Raises SettingsError; never shows the content."""
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise SettingsError(f"{what}: {path} is a directory")
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        raise SettingsError(f"{what}: {path}: no such file") from None
    except PermissionError:
        raise SettingsError(f"{what}: {path}: not readable by this user") from None
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{what}: {path}: cannot be read as UTF-8 text") from None
    if not text.strip():
        raise SettingsError(f"{what}: {path} is empty")
    return text


def read_key(path: Path) -> bytes:
    """The shared key of the responders: the file's bytes without the trailing newline, at least 16 of them."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError(f"responder key: {path}: no such file") from None
    except OSError as error:
        raise SettingsError(f"responder key: {path}: cannot be read ({error.strerror})") from None
    key = key.removesuffix(b"\n").removesuffix(b"\r")
    if len(key) < MINIMUM_KEY_BYTES:
        raise SettingsError(
            f"responder key: {path} holds {len(key)} bytes, at least {MINIMUM_KEY_BYTES} are needed; "
            f"make one with: umask 077; head -c 32 /dev/urandom | base64 > {path}"
        )
    return key


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said; None means that it did not say."""

    config: Path | None = None
    peers: tuple[Peer, ...] = ()
    control_url: str | None = None
    skip: tuple[str, ...] = ()
    redact: tuple[Literal["addresses"], ...] = ()
    enroll: bool = False
    intrusive: bool = False
    bootstrap_token_file: Path | None = None
    credentials_out: Path | None = None


def find_config(environ: Mapping[str, str]) -> Path | None:
    """The settings file that applies when none is named: ./preflight.yaml, then the user's config directory."""
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    for candidate in (Path("preflight.yaml"), home / "preflight" / "preflight.yaml"):
        if candidate.exists():
            return candidate
    return None


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
        checks=config.checks.model_copy(update={"skip": (*config.checks.skip, *options.skip)}),
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


def _control_url(
    options: Options, environ: Mapping[str, str], config: ConfigFile, source: Path | None
) -> tuple[str | None, str | None]:
    """The raw control URL and where it came from; normalised by `control.url`, which must see what was written."""
    if options.control_url is not None:
        return options.control_url, "--control-url"
    for name in CONTROL_URL_VARIABLES:
        if environ.get(name, "").strip():
            return environ[name], name
    return config.control.url, f"{source}" if config.control.url is not None else None


def _timeout_ms(environ: Mapping[str, str]) -> int | None:
    raw = environ.get("VOX_ORCHESTRATOR_MESH_HTTP_TIMEOUT_MS", "").strip()
    return max(500, int(raw)) if raw.isdecimal() else None


def _thresholds(config: ConfigFile, environ: Mapping[str, str]) -> Thresholds:
    raw = environ.get("VOX_MESH_MAX_STALE_MS", "").strip()
    return config.thresholds.model_copy(update={"stale_ms": int(raw)} if raw.isdecimal() and int(raw) else {})


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
    key = (secrets.responder_key or b"").decode("utf-8", "replace")
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


def _in_files(settings: Settings) -> Iterator[str]:
    """What the secret files hold that are there, and the credential that this run may have bought."""
    for section in (settings.control, settings.control_plane):
        for name, path in section:
            if isinstance(path, Path) and name != "ca_file":
                yield _quietly(path)
    bought = settings.enrolment.credentials_out if settings.enrolment else None
    try:
        words = shlex.split(_quietly(bought), comments=True) if bought else []
    except ValueError:  # somebody else's file of that name
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
    for attribute in ("address", "target"):
        values = [getattr(peer, attribute) for peer in peers]
        twin = next((value for value in values if values.count(value) > 1), None)
        if twin is not None:
            raise SettingsError(f"two peers are called {twin}; each needs its own address and name")


def config_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the settings file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ConfigFile.model_json_schema(),
        "title": "preflight.yaml",
    }
