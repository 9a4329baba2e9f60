"""Fixes of a host: its services, clock, files, settings and environment, and the responder on it."""

import json
import shlex
from dataclasses import dataclass
from typing import ClassVar, Literal

from preflight.model import parameters
from preflight.model.change import STRICT, Change, Command, NamedValue
from preflight.model.host_port import bracketed, join_host_port
from preflight.model.peer import RESPONDER_PORT
from preflight.model.token import CLEANED_BY

SERVICES = ("tailscaled", "zerotier-one", "nebula")
_SETTINGS = {
    "control.url": parameters.url,
    "control.scope_id": parameters.text_value,
    "control.ca_file": parameters.path,
    "control.token_file": parameters.path,
    "overlay.interface": parameters.interface,
}
_VARIABLES = {
    "PREFLIGHT_CONTROL_URL": parameters.url,
    "VOX_ORCHESTRATOR_MESH_CONTROL_URL": parameters.url,
    "VOX_MESH_CONTROL_ADDR": parameters.url,
    "PREFLIGHT_SCOPE_ID": parameters.text_value,
    "VOX_MESH_SCOPE_ID": parameters.text_value,
    "VOX_ORCHESTRATOR_MESH_HTTP_TIMEOUT_MS": parameters.whole,
    "VOX_MESH_HTTP_HEARTBEAT_SECS": parameters.whole,
    "VOX_MESH_MAX_STALE_MS": parameters.whole,
    "VOX_MESH_A2A_LEASE_MS": parameters.whole,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WgQuick(Change):
    """Build a WireGuard interface from its file. again: take it down first."""

    __pydantic_config__ = STRICT

    id: Literal["wireguard.quick"] = "wireguard.quick"
    interface: str
    again: bool = False

    def __post_init__(self) -> None:
        parameters.interface(self.interface)

    def _commands(self) -> tuple[Command, ...]:
        down = (("wg-quick", "down", self.interface),) if self.again else ()
        return (*down, ("wg-quick", "up", self.interface))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRestart(Change):
    """Restart the daemon of an overlay."""

    __pydantic_config__ = STRICT

    id: Literal["service.restart"] = "service.restart"
    service: Literal["tailscaled", "zerotier-one", "nebula"]

    def __post_init__(self) -> None:
        if self.service not in SERVICES:
            raise ValueError(f"{self.service!r} is not the service of an overlay")

    def _commands(self) -> tuple[Command, ...]:
        return (("systemctl", "restart", self.service),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSync(Change):
    """Let the system keep its clock by NTP."""

    __pydantic_config__ = STRICT

    id: Literal["clock.ntp"] = "clock.ntp"

    def _commands(self) -> tuple[Command, ...]:
        return (("timedatectl", "set-ntp", "true"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateFiles(Change):
    """Keep other users out of files."""

    __pydantic_config__ = STRICT
    needs_root: ClassVar[bool] = False

    id: Literal["file.private"] = "file.private"
    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        parameters.within(len(self.paths), 1, 256)
        for path in self.paths:
            parameters.path(path)

    def _commands(self) -> tuple[Command, ...]:
        return (("chmod", "600", *self.paths),)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAlone(Change):
    """Leave only the token in its file. rids: what surrounds it, as keys of `CLEANED_BY`."""

    __pydantic_config__ = STRICT
    needs_root: ClassVar[bool] = False

    id: Literal["token.alone"] = "token.alone"
    path: str
    rids: tuple[str, ...]

    def __post_init__(self) -> None:
        parameters.path(self.path)
        parameters.within(len(self.rids), 1, len(CLEANED_BY))
        for word in self.rids:
            if word not in CLEANED_BY:
                raise ValueError(f"{word!r} is nothing that surrounds a token")

    def _commands(self) -> tuple[Command, ...]:
        scripts = (script for word, script in CLEANED_BY.items() if word in self.rids)
        return (("sed", "--in-place", "--follow-symlinks", "--regexp-extended", "; ".join(scripts), self.path),)


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerFromWorkerToken(Change):
    """Give workers the token for workers under the only name that they read."""

    __pydantic_config__ = STRICT
    needs_root: ClassVar[bool] = False

    id: Literal["environment.bearer"] = "environment.bearer"

    def _lines(self) -> tuple[str, ...]:
        return ('export VOX_MESH_TOKEN="$VOX_MESH_WORKER_TOKEN"',)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Change):
    """Change one value in a settings file of this program."""

    __pydantic_config__ = STRICT
    needs_root: ClassVar[bool] = False

    id: Literal["settings.value"] = "settings.value"
    file: str
    key: Literal["control.url", "control.scope_id", "control.ca_file", "control.token_file", "overlay.interface"]
    value: str

    def __post_init__(self) -> None:
        parameters.path(self.file)
        if self.key not in _SETTINGS:
            raise ValueError(f"{self.key!r} is not a setting that a fix may change")
        _SETTINGS[self.key](self.value)

    def _lines(self) -> tuple[str, ...]:
        section, _, name = self.key.partition(".")
        return (f"{section}: {{{name}: {json.dumps(self.value, ensure_ascii=False)}}}   # in {self.file}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAddress(Change):
    """Give a peer of a settings file of this program another address. before: the one that it has there."""

    __pydantic_config__ = STRICT
    needs_root: ClassVar[bool] = False

    id: Literal["settings.peer-address"] = "settings.peer-address"
    file: str
    before: str
    address: str

    def __post_init__(self) -> None:
        parameters.path(self.file)
        parameters.address(self.before)
        parameters.address(self.address)

    def _lines(self) -> tuple[str, ...]:
        return (f"address: {json.dumps(self.address)}   # in {self.file}, in the place of {self.before}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Change):
    """Set variables of the worker's environment, of which only a few are allowed; none of them is a secret."""

    __pydantic_config__ = STRICT
    needs_root: ClassVar[bool] = False

    id: Literal["environment"] = "environment"
    variables: tuple[NamedValue, ...]

    def __post_init__(self) -> None:
        parameters.within(len(self.variables), 1, len(_VARIABLES))
        for variable in self.variables:
            if variable.name not in _VARIABLES:
                raise ValueError(f"{variable.name!r} is not a variable that a fix may set")
            _VARIABLES[variable.name](variable.value)

    def _lines(self) -> tuple[str, ...]:
        values = (f"{variable.name}={shlex.quote(variable.value)}" for variable in self.variables)
        return (f"export {' '.join(values)}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastProxy(Change):
    """Let clients reach a host without the proxy of the environment."""

    __pydantic_config__ = STRICT
    needs_root: ClassVar[bool] = False

    id: Literal["environment.no-proxy"] = "environment.no-proxy"
    host: str

    def __post_init__(self) -> None:
        parameters.host(self.host)

    def _lines(self) -> tuple[str, ...]:
        return (f'export NO_PROXY="$NO_PROXY,{self.host}"',)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderStart(Change):
    """Start a responder, which runs until it is stopped. allow: the node that it serves."""

    __pydantic_config__ = STRICT
    stays: ClassVar[bool] = True

    id: Literal["responder.start"] = "responder.start"
    address: str
    port: int = RESPONDER_PORT
    allow: str | None = None

    def __post_init__(self) -> None:
        parameters.address(self.address)
        parameters.within(self.port, 1, 65535)
        if self.allow is not None:
            parameters.address(self.allow)

    def _commands(self) -> tuple[Command, ...]:
        usual = self.port == RESPONDER_PORT
        place = bracketed(self.address) if usual else join_host_port(self.address, self.port)
        return (("preflight", "responder", "--bind", place, *(("--allow", self.allow) if self.allow else ())),)
