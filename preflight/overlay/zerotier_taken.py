"""What a ZeroTier network's controller gives this node, and the node's own settings let it take; pure.

The settings are one for all (`allowManaged`), one for public addresses, one for the whole Internet: those two are off
at first.
"""

from collections.abc import Mapping
from ipaddress import ip_interface, ip_network
from typing import Any

from preflight.model.kernel import IPInterface, IPNetwork, Link
from preflight.model.product_fixes import ZeroTierOption
from preflight.overlay.json_types import text, texts

_OPTIONS: tuple[ZeroTierOption, ...] = ("allowManaged", "allowDefault", "allowGlobal")
_PRIVATE = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "fc00::/7",
    "240.0.0.0/4",
)
_EXAMPLES = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
_UNANNOUNCED = tuple(f"{first}.0.0.0/8" for first in (6, 11, 21, 22, 25, 26, 28, 29, 30, 51, 55, 56))
_LOCAL = tuple(map(ip_network, (*_PRIVATE, *_EXAMPLES, *_UNANNOUNCED)))
"""What ZeroTier takes by itself: private addresses, and those of organisations that announce none."""


def untaken(network: Mapping[str, Any]) -> tuple[tuple[IPNetwork, ZeroTierOption], ...]:
    """The routes of a network that this node does not take, each with the setting that would let it."""
    targets = (ip_network(text(route["target"])) for route in network.get("routes") or ())
    lacking = ((target, lacks(network, target)) for target in targets)
    return tuple((target, option) for target, option in lacking if option is not None)


def lacks(network: Mapping[str, Any], target: IPNetwork) -> ZeroTierOption | None:
    """The setting that keeps this node from taking something; None if nothing does."""
    wanted: dict[ZeroTierOption, bool] = {
        "allowManaged": True,
        "allowDefault": target.prefixlen == 0,
        "allowGlobal": target.prefixlen > 0 and not _local(target),
    }
    return next((each for each in _OPTIONS if wanted[each] and network.get(each) is False), None)


def withheld(network: Mapping[str, Any]) -> tuple[tuple[str, ...], ZeroTierOption | None]:
    """The addresses that this node does not take although they are given to it, and the setting."""
    for option in _OPTIONS:
        if kept := tuple(each for each in texts(network.get("assignedAddresses")) if _lacked(network, each) == option):
            return kept, option
    return (), None


def lost(network: Mapping[str, Any], link: Link | None) -> tuple[str, ...]:
    """The addresses that the service has set, and that are not on its interface."""
    on = {address.ip for address in link.addresses} if link is not None else set()
    taken = (each for each in texts(network.get("assignedAddresses")) if _lacked(network, each) is None)
    return tuple(each for each in taken if ip_interface(each).ip not in on)


def _lacked(network: Mapping[str, Any], address: str) -> ZeroTierOption | None:
    own: IPInterface = ip_interface(address)
    return lacks(network, ip_network(f"{own.ip}/{own.max_prefixlen}"))


def _local(target: IPNetwork) -> bool:
    return any(_in(target, network) for network in _LOCAL)


def _in(target: IPNetwork, network: IPNetwork) -> bool:
    return target.version == network.version and target.network_address in network
