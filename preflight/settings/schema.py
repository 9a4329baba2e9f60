"""preflight.yaml: its schema (`preflight schema config` is made from it), and how it is read.

Every mistake is reported with file, line and, for an unknown key, the nearest valid one.
"""

from datetime import date
from difflib import get_close_matches
from errno import EFBIG
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetPydanticSchema,
    ValidationError,
)
from pydantic_core import core_schema

from preflight.model.overlay import IPNetwork
from preflight.model.peer import RESPONDER_PORT, Peer
from preflight.proto.control.url import ControlUrl, ControlUrlError, parse_control_url
from preflight.proto.stun.binding import read_server
from preflight.settings.complaints import complaint, keys_of
from preflight.settings.model import Model
from preflight.settings.peers import peer_address, peer_name
from preflight.settings.reading import LARGEST_FILE, SettingsError, bounded
from preflight.settings.responder import LoadSettings, ResponderSettings

ParsedControlUrl = Annotated[
    ControlUrl | ControlUrlError,
    GetPydanticSchema(
        lambda *_: core_schema.no_info_after_validator_function(parse_control_url, core_schema.str_schema())
    ),
]
Address = Annotated[str, AfterValidator(peer_address)]
Milliseconds = Annotated[float, Field(gt=0)]
Percent = Annotated[float, Field(ge=0, le=100)]


class NodeSettings(Model):
    """This node."""

    id: str | None = Field(None, description="Stable node id; without one an enrolment uses a random one.")
    labels: tuple[str, ...] = Field((), description="Labels sent with a join, as pool=infer.")


class PeerSettings(Model):
    """One peer on the overlay."""

    address: Address = Field(description="Its overlay address.")
    name: Annotated[str, AfterValidator(peer_name)] = Field(
        "", description="How results call it; its address if empty."
    )
    responder: int = Field(RESPONDER_PORT, ge=1, le=65535, description="UDP port of its responder.")
    agent_id: Annotated[str, BeforeValidator(str)] | None = Field(
        None, pattern=r"^\d+$", description="Mailbox of its responder on the control plane (decimal digits)."
    )

    ssh: str = Field(
        "",
        pattern=r"^[^-\s]\S*$|^$",
        description="Where `--via ssh` reaches it: a host of ssh_config, or USER@HOST; its name or address if empty.",
    )

    @property
    def peer(self) -> Peer:
        """The peer as every part of a run knows it."""
        return Peer(self.address, self.name, self.responder, self.agent_id, self.ssh)


class ControlSettings(Model):
    """The control plane, as a client sees it."""

    url: ParsedControlUrl | None = Field(None, description="Control URL; overlay address or name, never a LAN address.")
    scope_id: str | None = Field(None, description="Cluster id: the tenancy boundary.")
    token_file: Path | None = Field(None, description="File with the bearer of this node (mode 0600).")
    submitter_token_file: Path | None = Field(None, description="File with the submitter's bearer.")
    ca_file: Path | None = Field(None, description="PEM file with the CA that signed the server's certificate.")
    timeout_ms: int | None = Field(None, ge=500, le=3_600_000, description="Time-out of one request; default 15000.")

    @property
    def usable_url(self) -> ControlUrl | None:
        """The URL, if a client can use it; `url` says why not."""
        return self.url if isinstance(self.url, ControlUrl) else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of the URL, usable or not, in every spelling in which a report may show it."""
        return self.url.hosts if self.url else ()


class OverlaySettings(Model):
    """Which interface is the overlay; detected if not given."""

    interface: str | None = Field(None, description="Interface name, as wg0.")
    prefixes: tuple[IPNetwork, ...] = Field(
        (),
        description="Networks of the overlay, as 10.66.0.0/24: the responder serves them.",
    )


def _stun_server(value: str) -> str:
    read_server(value)
    return value


class StunSettings(Model):
    """STUN servers (RFC 8489) that you choose; there is no default."""

    servers: tuple[Annotated[str, AfterValidator(_stun_server)], ...] = Field(
        (), max_length=8, description="HOST[:PORT] of each, outside the overlay; two at different places show most."
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
    added_delay_ms: Milliseconds = Field(
        30.0,
        description="Delay that a transfer adds for other packets from which it is a warning (`--tag load`).",
    )
    reordering_percent: Percent = Field(1.0, description="Reordered packets from which it is a warning.")
    duplication_percent: Percent = Field(1.0, description="Duplicated packets from which it is a warning.")
    rtt_ms: RttThresholds = RttThresholds()
    control_rtt_ms: Milliseconds = Field(300.0, description="Control-plane round trip from which it counts as slow.")
    clock_skew_ms: Milliseconds = Field(5000.0, description="Clock difference from which it is a warning.")
    clock_skew_fail_ms: Milliseconds = Field(60000.0, description="Clock difference from which it is a failure.")
    certificate_days: int = Field(14, ge=0, description="Days before its expiry from which a certificate is a warning.")
    stale_ms: int = Field(90000, gt=0, description="Age of last_seen_unix_ms from which a node is stale.")
    minimum_mtu: int = Field(
        1280,
        ge=576,
        description="What the overlay must carry, also one without IPv6; without this key that is what IPv6 needs, and "
        "only where there is IPv6.",
    )


class ReportSettings(Model):
    """The report."""

    redact: tuple[Literal["addresses"], ...] = Field((), description="What is replaced by pseudonyms.")


def _day(value: object) -> object:
    """A date, not a number of seconds, which pydantic would take too."""
    if isinstance(value, date | str):
        return value
    raise ValueError("must be a date, as 2027-01-31")


def _code(value: str) -> str:
    area, _, condition = value.partition(".")
    if not (area.isalnum() and condition.replace("-", "").isalnum() and value.islower() and value.isascii()):
        raise ValueError(f"{value!r} is not a finding code, as mtu.reduced")
    return value


class AcceptedFinding(Model):
    """A finding that is known. It is shown, but does not fail the run, until a date."""

    code: Annotated[str, AfterValidator(_code)] = Field(description="Its code, as mtu.reduced.")
    target: str = Field(min_length=1, description="The peer's name, `control` or `node`; or a glob.")
    reason: str = Field(min_length=1, description="Why it is accepted.")
    until: Annotated[date, BeforeValidator(_day)] = Field(description="Its last day, as 2027-01-31.")


class PostureSettings(Model):
    """Where the posture checks look."""

    repositories: tuple[Path, ...] | None = Field(
        None,
        description="Folders whose git repositories are searched for committed secrets; without this key the working "
        "folder and the one of the settings file.",
    )


class RateLimit(Model):
    """Per-client-address rate limit of the bundled server."""

    enabled: bool = Field(False, description="Whether there is one.")
    per_second: int = Field(50, gt=0, description="Requests a second that one address may send; more get a 429.")
    burst: int | None = Field(None, gt=0, description="Requests that may come at once; twice that if unset.")


class ControlPlaneSettings(Model):
    """The bundled control plane (`preflight control-plane serve`); the VOX_MESH_* variables win."""

    scope_id: str | None = Field(None, description="Cluster id: joins under another one are refused.")
    token_file: Path | None = Field(None, description="File with the mesh token, which opens everything.")
    worker_token_file: Path | None = Field(None, description="File with the workers' token.")
    submitter_token_file: Path | None = Field(None, description="File with the submitters' token.")
    admin_token_file: Path | None = Field(None, description="File with the administrators' token.")
    jwt_secret_file: Path | None = Field(None, description="File with the HS256 secret of bearers that are JWTs.")
    bootstrap_token_file: Path | None = Field(
        None, description="File with the one-time token that buys the mesh token."
    )
    bootstrap_expires_unix_ms: int | None = Field(None, description="When that token dies, Unix milliseconds.")
    max_body_bytes: int | None = Field(None, description="Largest body, 2 KiB to 8 MiB; default 512 KiB.")
    lease_ms: int | None = Field(None, description="Length of leases, 1000 to 3600000; default 120000.")
    max_messages: int | None = Field(
        None, description="Mailbox rows that are kept, the oldest go first; default 50000."
    )
    server_stale_prune_ms: int | None = Field(
        None, description="Hide nodes older than this from the list; 0 shows all."
    )
    rate_limit: RateLimit = RateLimit()
    max_connections: int | None = Field(
        None, ge=1, description="Open connections in all; default 16384, or 64 below the limit of open files."
    )
    max_connections_per_client: int | None = Field(
        None, ge=1, description="Open connections of one address (IPv6: /64), and its requests at a time; default 512."
    )


MOST_PEERS = 5000
"""Five times the largest mesh that is measured (benchmarks/); beyond it the file alone takes seconds to parse."""
MOST_MISTAKES = 20
"""How many are named; one habit makes as many as there are peers."""
_TOO_MANY = f"a run measures at most {MOST_PEERS} peers, so give each of several runs a part of them"


class ConfigFile(Model):
    """preflight.yaml; every key is optional, relative paths are relative to the file."""

    node: NodeSettings = NodeSettings()
    peers: tuple[PeerSettings, ...] = ()
    control: ControlSettings = ControlSettings()
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


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key written twice: the second would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} appears twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _text(path: Path) -> str:
    """The text of a settings file, without the time that it takes to parse peers that no run can measure."""
    try:
        text = bounded(path).decode("utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; write one with `preflight init`") from None
    except IsADirectoryError:
        raise SettingsError(f"{path}: is a directory, not a settings file") from None
    except PermissionError:
        raise SettingsError(f"{path}: not readable by this user") from None
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno == EFBIG:
            raise SettingsError(f"{path}: has more than {LARGEST_FILE >> 20} MiB; {_TOO_MANY}") from None
        raise SettingsError(f"{path}: cannot be read as UTF-8 text ({error.__class__.__name__})") from None
    if text.count("address:") > MOST_PEERS:
        raise SettingsError(f"{path}: has more than {MOST_PEERS} addresses; {_TOO_MANY}")
    return text


def read_config(path: Path) -> ConfigFile:
    """Read and check a settings file.

    Raises SettingsError with file, line and, for an unknown key, the nearest valid one.
    """
    text = _text(path)
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        data = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SettingsError(f"{path}:{line}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from None
    if data is None:
        return ConfigFile()
    if not isinstance(data, dict):
        raise SettingsError(
            f"{path}:1: expected `key: value` lines, not {'a list' if isinstance(data, list) else 'a value'}"
        )
    try:
        config = ConfigFile.model_validate(data)
    except ValidationError as error:
        raise SettingsError(_explain(path, root, error)) from None
    return _anchor(config, path.parent)


def _explain(path: Path, root: Any, error: ValidationError) -> str:
    """One line for each of the first mistakes: file, line, key, what is wrong, the nearest valid key."""
    lines = []
    for item in error.errors(include_url=False, include_input=False)[:MOST_MISTAKES]:
        location = keys_of(item["loc"])
        dotted = ".".join(str(part) for part in location)
        line = _line_of(root, location)
        if item["type"] == "extra_forbidden":
            near = get_close_matches(str(location[-1]), _keys_at(location[:-1]), n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            lines.append(f"{path}:{line}: unknown key {dotted!r}{hint}")
        else:
            lines.append(f"{path}:{line}: {dotted}: {complaint(item)}")
    if (more := error.error_count() - MOST_MISTAKES) > 0:
        lines.append(f"{path}: and {more} more")
    return "\n".join(dict.fromkeys(lines))


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


def config_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the settings file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ConfigFile.model_json_schema(),
        "title": "preflight.yaml",
    }
