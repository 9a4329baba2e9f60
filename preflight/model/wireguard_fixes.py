"""Fixes of WireGuard that are more than a change of one peer's values: its port, its keys, its preshared keys."""

import re
import shlex
from dataclasses import dataclass
from typing import ClassVar, Literal

from preflight.model import parameters
from preflight.model.change import STRICT, Change, Command
from preflight.model.network_fixes import DEVICE, device_with


@dataclass(frozen=True, slots=True, kw_only=True)
class WireguardPort(Change):
    """Let a WireGuard interface listen on another UDP port."""

    __pydantic_config__ = STRICT

    id: Literal["wireguard.port"] = "wireguard.port"
    interface: str
    port: int

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.within(self.port, 1, 65535)

    def _commands(self) -> tuple[Command, ...]:
        return (("wg", "set", self.interface, "listen-port", str(self.port)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireguardMark(Change):
    """Let a WireGuard interface mark its own packets, by which rules of policy routing keep them out of it."""

    __pydantic_config__ = STRICT

    id: Literal["wireguard.mark"] = "wireguard.mark"
    interface: str
    mark: int

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.within(self.mark, 1, 2**32 - 1)

    def _commands(self) -> tuple[Command, ...]:
        return (("wg", "set", self.interface, "fwmark", str(self.mark)),)


LINE = "LINE"
"""In a command: the number of the line of a file that holds a setting, or with `+` the one that it follows."""
_FILES = "/etc/wireguard"
_VALUE = re.compile(r"[0-9a-f.:/]+(, [0-9a-f.:/]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class WgQuickValue(Change):
    """Write one value into a tunnel's wg-quick file. peer: the key of the peer whose section it is in.

    A section that has no such line gets one behind its key, or behind its head without a peer. Nothing else of the file
    is read or kept: it holds the private key.
    """

    __pydantic_config__ = STRICT
    asks: ClassVar[bool] = True

    id: Literal["wg-quick.value"] = "wg-quick.value"
    interface: str
    setting: Literal["MTU", "ListenPort", "AllowedIPs", "PersistentKeepalive"]
    value: str
    peer: str | None = None

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.one_of(self.setting, ("MTU", "ListenPort", "AllowedIPs", "PersistentKeepalive"))
        if self.peer is not None:
            parameters.key(self.peer)
        if _VALUE.fullmatch(self.value) is None:
            raise ValueError(f"{self.value!r} is not a value of {self.setting}")

    @property
    def file(self) -> str:
        """The file of the tunnel."""
        return f"{_FILES}/{self.interface}.conf"

    @property
    def find(self) -> Command:
        """Prints the number of the last line with the setting in its section; with `+` before it the line that a new
        one has to follow; nothing if there is no such section.
        """
        return ("awk", self._program("print n[p]", 'print "+" h'), self.file)

    def changed(self, line: str) -> Command:
        """Writes the value into a line of the file, or with `+` behind it."""
        return ("sed", "-i", f"{line[1:]}{self._added}" if line.startswith("+") else f"{line}{self._set}", self.file)

    @property
    def _set(self) -> str:
        return f"s|=.*|= {self.value}|"

    @property
    def _added(self) -> str:
        return f"a {self.setting} = {self.value}"

    def _program(self, has: str, lacks: str) -> str:
        """Looks for the section, which is the p-th, for its lines, and for the one that is there in any case, h."""
        where = f'index($0, "{self.peer}")' if self.peer is not None else "tolower($0) ~ /^ *\\[interface/"
        setting = f"tolower($0) ~ /^ *{self.setting.lower()} *=/"
        return (
            f"/^ *\\[/ {{s++}} {where} {{p = s; h = NR}} {setting} {{n[s] = NR}} "
            f"END {{if (n[p]) {has}; else if (p) {lacks}}}"
        )

    def _commands(self) -> tuple[Command, ...]:
        return (self.changed(LINE),)

    def _lines(self) -> tuple[str, ...]:
        program = self._program(f'print n[p] "{self._set}"', f'print h "{self._added}"')
        return (f'sed -i "$({shlex.join(("awk", program, self.file))})" {shlex.quote(self.file)}',)


@dataclass(frozen=True, slots=True, kw_only=True)
class WireguardKey(Change):
    """Give a WireGuard interface a peer under its current key. instead_of: the old key, whose entry goes."""

    __pydantic_config__ = STRICT

    id: Literal["wireguard.key"] = "wireguard.key"
    interface: str
    key: str
    allowed_ips: tuple[str, ...]
    instead_of: str | None = None
    endpoint: str | None = None
    keepalive_s: int | None = None

    def __post_init__(self) -> None:
        parameters.interface(self.interface)
        parameters.key(self.key)
        parameters.networks(self.allowed_ips)
        if self.instead_of is not None:
            parameters.key(self.instead_of)
        if self.instead_of == self.key:
            raise ValueError("the key is the same")
        if self.endpoint is not None:
            parameters.endpoint(self.endpoint)
        if self.keepalive_s is not None:
            parameters.within(self.keepalive_s, 0, 65535)

    def _commands(self) -> tuple[Command, ...]:
        here = ("wg", "set", self.interface, "peer")
        gone = () if self.instead_of is None else ((*here, self.instead_of, "remove"),)
        words = (("endpoint", self.endpoint), ("persistent-keepalive", self.keepalive_s))
        known = [text for word, value in words if value is not None for text in (word, str(value))]
        return (*gone, (*here, self.key, "allowed-ips", ",".join(self.allowed_ips), *known))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPresharedKey(Change):
    """Take the preshared key from a WireGuard peer. address: the host's own address on the interface with the peer."""

    __pydantic_config__ = STRICT
    asks: ClassVar[bool] = True

    id: Literal["wireguard.no-preshared-key"] = "wireguard.no-preshared-key"
    address: str
    key: str

    def __post_init__(self) -> None:
        parameters.address(self.address)
        parameters.key(self.key)

    def _commands(self) -> tuple[Command, ...]:
        return (("wg", "set", DEVICE, "peer", self.key, "preshared-key", "/dev/null"),)

    def _lines(self) -> tuple[str, ...]:
        return tuple(shlex.join(command).replace(DEVICE, device_with(self.address)) for command in self._commands())
