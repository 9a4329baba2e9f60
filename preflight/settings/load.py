"""Settings: options over environment over YAML over what is detected, as frozen models.

`preflight.settings.schema` is what the file says; `Settings` adds what files never hold: secrets read from files or
environment, and what this run was asked to do.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from preflight.model.peer import Peer
from preflight.model.token import Disagreement, HeldToken, SwitchedOff, UnreadLine
from preflight.proto.control.token_text import accepted_once
from preflight.proto.control.url import ControlUrl, ControlUrlError, is_passed_over, parse_control_url
from preflight.settings.agreement import disagreements
from preflight.settings.peers import distinct, parse_peer
from preflight.settings.places import SCOPE, URL, WorkerFile, switched_off, worker_files
from preflight.settings.reading import SettingsError, read_key, read_variable
from preflight.settings.responder import LoadSettings, ResponderSettings
from preflight.settings.schema import (
    AcceptedFinding,
    CheckSettings,
    ConfigFile,
    ControlPlaneSettings,
    ControlSettings,
    NodeSettings,
    OverlaySettings,
    PostureSettings,
    ReportSettings,
    StunSettings,
    Thresholds,
    read_config,
)
from preflight.settings.tokens import WORKER_TOKEN, bearers, in_file, in_variable, one_time


@dataclass(frozen=True, slots=True)
class Secrets:
    """Credentials of this run; never in a report, a log or an exception text (`SecretStr` hides its value).

    token: the bearer of workers; None also if its text cannot be right, or if each request with it costs one. bearers:
    every place of it, the one that won first. once: a bearer that the control plane accepts in one request only, which
    no check sends without need. submitter: where that token was found. only_for_workers: the variable of a token for
    workers, where there is no bearer: workers do not send it. run_key: of the responders that this run starts itself,
    at the addresses in `lent`.
    """

    token: SecretStr | None = None
    submitter_token: SecretStr | None = None
    bearers: tuple[HeldToken, ...] = ()
    once: SecretStr | None = None
    submitter: HeldToken | None = None
    only_for_workers: str | None = None
    responder_key: bytes | None = field(default=None, repr=False)
    run_key: bytes | None = field(default=None, repr=False)
    lent: frozenset[str] = frozenset()

    def key_for(self, address: str) -> bytes | None:
        """The key that this node shares with the responder at an address."""
        return self.run_key if address in self.lent else self.responder_key


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What `--enroll` asked for. Without a bootstrap token the node joins with the token it has.

    bootstrap: the one-time token as it was found; `bootstrap_token` is None also if its text cannot be right.
    """

    bootstrap_token: SecretStr | None = None
    credentials_out: Path | None = None
    bootstrap: HeldToken | None = None

    @property
    def brings_token(self) -> bool:
        """Whether a one-time token was given, whatever its text is."""
        return self.bootstrap is not None or self.bootstrap_token is not None


@dataclass(frozen=True, slots=True)
class NamedUrl:
    """A control URL, and the variable or the file that holds it."""

    source: str
    url: ControlUrl


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a run knows before it looks at the network.

    control_url_rivals: other control URLs, of sources that the one of `control_url_source` hides.
    """

    node: NodeSettings = NodeSettings()
    peers: tuple[Peer, ...] = ()
    control: ControlSettings = ControlSettings()
    control_url_source: str | None = None
    control_url_rivals: tuple[NamedUrl, ...] = ()
    responder: ResponderSettings = ResponderSettings()
    overlay: OverlaySettings = OverlaySettings()
    stun: StunSettings = StunSettings()
    load: LoadSettings = LoadSettings()
    checks: CheckSettings = CheckSettings()
    thresholds: Thresholds = Thresholds()
    report: ReportSettings = ReportSettings()
    accept: tuple[AcceptedFinding, ...] = ()
    posture: PostureSettings = PostureSettings()
    control_plane: ControlPlaneSettings = ControlPlaneSettings()
    secrets: Secrets = Secrets()
    enrolment: Enrolment | None = None
    intrusive: bool = False
    trace: bool = False
    source: Path | None = None
    worker_files: tuple[WorkerFile, ...] = ()
    scope_from_file: bool = False
    peers_from_file: bool = False
    disagreements: tuple[Disagreement, ...] = ()
    switched_off: SwitchedOff | None = None

    @property
    def unread_url(self) -> UnreadLine | None:
        """A control URL of this node in a line that no worker reads."""
        return self._unread(URL)

    @property
    def unread_scope(self) -> UnreadLine | None:
        """The same about the scope id."""
        return self._unread(SCOPE)

    def _unread(self, name: str) -> UnreadLine | None:
        return next((line for file in self.worker_files for line in file.unread if line.name == name), None)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, as it was written; None means that an option was not given.

    reports_url: the command reports a control URL of a file or a variable that may hold a secret, without showing it;
    any other command refuses it.
    """

    config: Path | None = None
    peers: tuple[str, ...] = ()
    control_url: str | None = None
    redact: tuple[Literal["addresses"], ...] = ()
    enroll: bool = False
    intrusive: bool = False
    trace: bool = False
    bootstrap_token_file: Path | None = None
    credentials_out: Path | None = None
    reports_url: bool = False


def find_config(environ: Mapping[str, str]) -> Path | None:
    """The settings file that applies when none is named: ./preflight.yaml, then the user's config directory."""
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    return next(filter(_there, (Path("preflight.yaml"), home / "preflight" / "preflight.yaml")), None)


def _there(path: Path) -> bool:
    """Whether a file exists and is visible to this user: another user's home directory counts as empty."""
    try:
        return path.exists()
    except PermissionError:
        return False


SCOPE_VARIABLES = ("PREFLIGHT_SCOPE_ID", SCOPE)
CONTROL_URL_VARIABLES = ("PREFLIGHT_CONTROL_URL", "VOX_ORCHESTRATOR_MESH_CONTROL_URL", "VOX_MESH_CONTROL_ADDR")


def load(options: Options, environ: Mapping[str, str] | None = None) -> Settings:
    """Put the settings together, strongest source first. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    source = _source(options, environ)
    config = read_config(source) if source else ConfigFile()
    files = worker_files(environ, Path.cwd())
    secrets = _secrets(config, environ, files)
    url, url_source, rivals = _control_url(options, environ, config, source, files)
    return Settings(
        node=_node(config, environ),
        peers=_peers(options, config),
        control=_control(config, environ, url, files),
        control_url_source=url_source,
        control_url_rivals=rivals,
        responder=config.responder,
        overlay=config.overlay,
        stun=config.stun,
        load=config.load,
        checks=config.checks,
        thresholds=_thresholds(config, environ),
        report=config.report.model_copy(update={"redact": tuple({*config.report.redact, *options.redact})}),
        accept=config.accept,
        posture=config.posture,
        control_plane=config.control_plane,
        secrets=secrets,
        intrusive=options.intrusive,
        trace=options.trace,
        enrolment=_enrolment(options, environ, secrets),
        source=source,
        worker_files=files,
        disagreements=disagreements(environ, files, secrets.bearers, *_said_of_control(config, source)),
        switched_off=switched_off(environ, files),
        peers_from_file=not options.peers,
        scope_from_file=config.control.scope_id is not None and read_variable(environ, *SCOPE_VARIABLES) is None,
    )


def _said_of_control(config: ConfigFile, source: Path | None) -> tuple[tuple[str, str | None], ...]:
    """What the settings file says that the environment may say too, by its place."""
    url = config.control.usable_url
    return (
        (f"control.scope_id in {source}", config.control.scope_id),
        (f"control.url in {source}", str(url) if url else None),
    )


def _source(options: Options, environ: Mapping[str, str]) -> Path | None:
    """The settings file, where there is one."""
    named = environ.get("PREFLIGHT_CONFIG")
    return options.config or (Path(named) if named else find_config(environ))


def _node(config: ConfigFile, environ: Mapping[str, str]) -> NodeSettings:
    labels = environ.get("VOX_MESH_LABELS")
    return config.node.model_copy(
        update={
            "id": read_variable(environ, "PREFLIGHT_NODE_ID", "VOX_MESH_NODE_ID") or config.node.id,
            "labels": tuple(filter(None, map(str.strip, labels.split(",")))) if labels else config.node.labels,
        }
    )


def _peers(options: Options, config: ConfigFile) -> tuple[Peer, ...]:
    """Those of the command line, or else those of the file. Raises SettingsError."""
    try:
        return distinct(tuple(map(_named_peer, options.peers)) or tuple(each.peer for each in config.peers))
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _named_peer(text: str) -> Peer:
    try:
        return parse_peer(text)
    except ValueError as error:
        shown = text if text.isprintable() else repr(text)
        raise SettingsError(f"--peer {shown}: {error} (ADDRESS[=NAME], as 10.66.0.2=b)") from None


def _control(
    config: ConfigFile,
    environ: Mapping[str, str],
    url: ControlUrl | ControlUrlError | None,
    files: Sequence[WorkerFile],
) -> ControlSettings:
    named = read_variable(environ, *SCOPE_VARIABLES) or config.control.scope_id
    return config.control.model_copy(
        update={
            "url": url,
            "scope_id": named or next((file.values[SCOPE] for file in files if SCOPE in file.values), None),
            "timeout_ms": _timeout_ms(environ) or config.control.timeout_ms,
        }
    )


def control_url_of(environ: Mapping[str, str]) -> tuple[ControlUrl | ControlUrlError | None, str | None]:
    """The control URL in the environment, and its variable."""
    return _first(_in_variables(environ))


_Source = tuple[ControlUrl | ControlUrlError, str]


def _in_variables(environ: Mapping[str, str]) -> list[_Source]:
    """What each variable says, the strongest first."""
    names = (name for name in CONTROL_URL_VARIABLES if read_variable(environ, name))
    return [(parse_control_url(environ[name]), name) for name in names]


def _first(sources: Sequence[_Source]) -> tuple[ControlUrl | ControlUrlError | None, str | None]:
    """The strongest one. Workers pass over a server's bind address while there is another."""
    usual = [each for each in sources if not is_passed_over(each[0])]
    return next(iter([*usual, *sources]), (None, None))


def _control_url(
    options: Options,
    environ: Mapping[str, str],
    config: ConfigFile,
    source: Path | None,
    files: Sequence[WorkerFile],
) -> tuple[ControlUrl | ControlUrlError | None, str | None, tuple[NamedUrl, ...]]:
    """The control URL, its source, and what it hides.

    An option that cannot be right is the caller's mistake; the same URL from elsewhere is a finding about this node. A
    server's bind address counts only where nothing else is set.
    """
    if options.control_url is not None:
        return _control_url_option(options.control_url), "--control-url", ()
    sources = _in_variables(environ)
    sources += [(config.control.url, f"{source}")] if config.control.url is not None else []
    sources += [(parse_control_url(file.values[URL]), file.place(URL)) for file in files if URL in file.values]
    url, name = _first(sources)
    if isinstance(url, ControlUrlError) and url.fault == "secret" and not options.reports_url:
        raise SettingsError(f"{name}: the control URL cannot be used: {url.reason}")
    rivals = (NamedUrl(other, each) for each, other in sources if isinstance(each, ControlUrl) and each != url)
    return url, name, tuple(rivals)


def _control_url_option(text: str) -> ControlUrl | ControlUrlError:
    """A server's bind address is left to `control.url`, which has a page about it."""
    url = parse_control_url(text)
    if isinstance(url, ControlUrlError) and url.fault != "bind-all":
        raise SettingsError(f"--control-url cannot be used: {url.reason}")
    return url


def _timeout_ms(environ: Mapping[str, str]) -> int | None:
    raw = _whole(environ, "VOX_ORCHESTRATOR_MESH_HTTP_TIMEOUT_MS")
    return None if raw is None else max(500, raw)


def _thresholds(config: ConfigFile, environ: Mapping[str, str]) -> Thresholds:
    stale_ms = _whole(environ, "VOX_MESH_MAX_STALE_MS")
    return config.thresholds.model_copy(update={"stale_ms": stale_ms} if stale_ms else {})


def _whole(environ: Mapping[str, str], name: str) -> int | None:
    """A number of milliseconds as the workers read it: anything else, or longer than months, counts as not set."""
    raw = environ.get(name, "").strip()
    return int(raw) if raw.isdecimal() and len(raw) <= 10 else None


def _secrets(config: ConfigFile, environ: Mapping[str, str], files: Sequence[WorkerFile]) -> Secrets:
    found = bearers(environ, config.control.token_file, files)
    submitter = in_variable(environ, "VOX_MESH_SUBMITTER_TOKEN")
    if submitter is None and config.control.submitter_token_file is not None:
        submitter = in_file(config.control.submitter_token_file, "control.submitter_token_file")
    key_file = environ.get("PREFLIGHT_RESPONDER_KEY_FILE")
    path = Path(key_file) if key_file else config.responder.key_file
    bearer = found[0].value if found else None
    once = bearer is not None and accepted_once(bearer.get_secret_value())
    delivers = submitter.value if submitter else None
    return Secrets(
        token=None if once else bearer,
        once=bearer if once else None,
        submitter_token=None if delivers is None or accepted_once(delivers.get_secret_value()) else delivers,
        bearers=found,
        submitter=submitter,
        only_for_workers=WORKER_TOKEN if not found and in_variable(environ, WORKER_TOKEN) else None,
        responder_key=read_key(path) if path else None,
    )


def _enrolment(options: Options, environ: Mapping[str, str], secrets: Secrets) -> Enrolment | None:
    if not options.enroll:
        if options.bootstrap_token_file or options.credentials_out:
            raise SettingsError("--bootstrap-token-file and --credentials-out go with --enroll")
        return None
    file = options.bootstrap_token_file
    given = in_file(file, "--bootstrap-token-file") if file else in_variable(environ, "VOX_MESH_BOOTSTRAP_TOKEN")
    held = one_time(given, secrets.bearers[0] if secrets.bearers else None, environ, secrets.submitter)
    if held is not None and not options.credentials_out:
        raise SettingsError(
            "a bootstrap token is good for one exchange: say with --credentials-out FILE "
            "where to keep the credential that it buys"
        )
    return Enrolment(
        bootstrap_token=held.value if held else None, bootstrap=held, credentials_out=options.credentials_out
    )
