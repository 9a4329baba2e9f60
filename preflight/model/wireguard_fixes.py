"""Fixes of WireGuard that are more than a change of one peer's values: its port, its keys, its preshared keys."""

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
