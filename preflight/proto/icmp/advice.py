"""What to do where a process may not send echoes."""

from preflight.model.change import NamedValue
from preflight.model.fix import KernelSettings
from preflight.model.remedy import Remedies, heal

EVERYONE = "0 2147483647"
"""All groups, as net.ipv4.ping_group_range has them."""


def allow_echoes() -> Remedies:
    """Ping sockets for every user of this node."""
    ranges = (NamedValue("net.ipv4.ping_group_range", EVERYONE),)
    return heal(lambda: KernelSettings(settings=ranges), lasting="the same in a file below /etc/sysctl.d")
