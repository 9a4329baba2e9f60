"""The parts of pyroute2 that are used here, without the rest of it.

The package's own `__init__` loads every protocol that the library knows, a database of networks and a file server
among them: three times as much as these parts need.
"""

from preflight.bare_package import enter

enter("pyroute2")

from pyroute2.iproute import AsyncIPRoute, IPRoute  # noqa: E402 - past the package's __init__
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402
from pyroute2.netlink.generic.wireguard import AsyncWireGuard  # noqa: E402

__all__ = ["AsyncIPRoute", "AsyncWireGuard", "IPRoute", "NetlinkError"]
