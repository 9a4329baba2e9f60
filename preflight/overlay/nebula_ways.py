"""How Nebula finds a member, and what it takes as being behind one: by its configuration and by certificates; pure."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_interface, ip_network
from typing import Any

from preflight.model.kernel import IPNetwork, Link
from preflight.overlay.json_types import table, text, texts


def asks_none(config: Mapping[str, Any]) -> str | None:
    """Why this node asks nobody where a member is; None if it asks a lighthouse."""
    settings = table(config.get("lighthouse"))
    if settings.get("am_lighthouse") is True:
        return "this node is a lighthouse itself (lighthouse.am_lighthouse), so it asks none"
    return None if texts(settings.get("hosts")) else "lighthouse.hosts names no lighthouse to ask"


def routed(config: Mapping[str, Any]) -> tuple[tuple[IPNetwork, str], ...]:
    """The networks behind other members into which this node's routes lead, each with the first member's address."""
    entries = map(table, table(config.get("tun")).get("unsafe_routes") or [])
    return tuple((ip_network(text(each.get("route")), strict=False), _via(each.get("via"))) for each in entries)


def _via(value: Any) -> str:
    """Later versions take several members, each with a weight."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return text(table(value[0]).get("gateway")) if value else ""
    return text(value)


def behind(host: Mapping[str, Any]) -> tuple[IPNetwork, ...] | None:
    """The networks behind a member by its certificate, as the host map shows it; None where it does not."""
    certificate = host.get("cert")
    details = table(certificate).get("details") if certificate else None
    if not details:
        return None
    said = table(details)
    return tuple(ip_network(each, strict=False) for each in texts(said.get("subnets") or said.get("unsafeNetworks")))


def lost(details: Mapping[str, Any], link: Link) -> tuple[str, ...]:
    """The addresses of this node's certificate that are not on its interface: nebula sends nothing from another one."""
    on = {address.ip for address in link.addresses}
    own = texts(details.get("ips")) or texts(details.get("networks"))
    return tuple(each for each in own if ip_interface(each).ip not in on)
