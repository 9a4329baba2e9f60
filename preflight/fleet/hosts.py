"""The nodes of a fleet, from the variables of an inventory's hosts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from preflight.model.peer import RESPONDER_PORT

_HIGHEST_PORT = 65535


class InventoryError(Exception):
    """The inventory cannot be used; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Host:
    """A node: its name in the inventory, and what the inventory says of it.

    address: in the overlay; None: the node is asked. port: of the responder of a run.
    """

    name: str
    address: str | None = None
    site: str | None = None
    port: int = RESPONDER_PORT


def read_hosts(document: Mapping[str, Any]) -> tuple[Host, ...]:
    """The hosts of `ansible-inventory --list`, sorted by name. Raises InventoryError."""
    names: set[str] = set()
    for group, content in document.items():
        if group != "_meta" and isinstance(content, Mapping):
            names.update(map(str, content.get("hosts", ())))
    variables = document.get("_meta", {}).get("hostvars", {})
    hosts = tuple(_host(name, variables.get(name, {})) for name in sorted(names))
    taken: dict[str, str] = {}
    for host in hosts:
        if host.address is not None and taken.setdefault(host.address, host.name) != host.name:
            raise InventoryError(f"{taken[host.address]} and {host.name} have one overlay_address, {host.address}")
    return hosts


def _host(name: str, variables: Mapping[str, Any]) -> Host:
    address, site = variables.get("overlay_address"), variables.get("overlay_site")
    port = str(variables.get("preflight_port", RESPONDER_PORT))
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= _HIGHEST_PORT):
        raise InventoryError(f"{name}: preflight_port is {port!r}, which is not a port")
    try:
        address = None if address is None else str(ip_address(str(address).partition("/")[0]))
    except ValueError:
        raise InventoryError(f"{name}: overlay_address is {address!r}, which is not an address") from None
    return Host(name, address, None if site is None else str(site), int(port))
