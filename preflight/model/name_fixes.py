"""Fixes of what a node's own files say about names: the hosts file, the name-service switch, the list of resolvers.

They change one file of /etc each, in the place where it is, for a container has these files mounted one by one.
"""

import re
from dataclasses import dataclass
from typing import Literal

from preflight.model import parameters
from preflight.model.change import STRICT, Change

HOSTS_FILE, SWITCH_FILE, RESOLVERS_FILE = "/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"
_SERVICES = re.compile(r"[a-z0-9_]+( ([a-z0-9_]+|\[[A-Za-z!= ]+\]))*")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsName(Change):
    """Give a name this address in the hosts file, and no other one."""

    __pydantic_config__ = STRICT

    id: Literal["names.hosts"] = "names.hosts"
    host: str
    address: str

    def __post_init__(self) -> None:
        parameters.host(self.host)
        parameters.address(self.address)

    def _lines(self) -> tuple[str, ...]:
        return (f"{self.address} {self.host}   # in {HOSTS_FILE}, in the place of other lines with this name",)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsNameLess(Change):
    """Take one address of a name out of the hosts file."""

    __pydantic_config__ = STRICT

    id: Literal["names.hosts-less"] = "names.hosts-less"
    host: str
    address: str

    def __post_init__(self) -> None:
        parameters.host(self.host)
        parameters.address(self.address)

    def _lines(self) -> tuple[str, ...]:
        return (f"Take {self.host} out of the line of {self.address} in {HOSTS_FILE}.",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchToDns(Change):
    """Let programs ask resolvers. services: what the line `hosts` of the name-service switch says now."""

    __pydantic_config__ = STRICT

    id: Literal["names.switch"] = "names.switch"
    services: str

    def __post_init__(self) -> None:
        if _SERVICES.fullmatch(self.services) is None or len(self.services) > parameters.LONGEST_TEXT:
            raise ValueError(f"{self.services!r} is not a list of services")

    def _lines(self) -> tuple[str, ...]:
        return (f"hosts: {self.services} dns   # in {SWITCH_FILE}",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverLess(Change):
    """Take one resolver out of the list; another one stays."""

    __pydantic_config__ = STRICT

    id: Literal["names.resolver-less"] = "names.resolver-less"
    address: str

    def __post_init__(self) -> None:
        parameters.address(self.address)

    def _lines(self) -> tuple[str, ...]:
        return (f"Take the line nameserver {self.address} out of {RESOLVERS_FILE}.",)
