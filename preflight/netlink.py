"""The parts of pyroute2 that are used here, without the rest of it.

The package's own `__init__` loads every protocol that the library knows, a database of networks and a file server
among them: three times as much as these parts need. So it is left for who asks the package for one of its other names.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any

PACKAGE = "pyroute2"


def _enter() -> None:
    """Make the package known, so that its parts can be imported, and run its `__init__` no sooner than it is needed."""
    spec = None if PACKAGE in sys.modules else find_spec(PACKAGE)
    if spec is None or spec.loader is None:  # it is loaded, or the imports below say what is missing
        return
    loader, package = spec.loader, module_from_spec(spec)

    def other(name: str) -> Any:
        if find_spec(f"{PACKAGE}.{name}") is not None:
            return import_module(f"{PACKAGE}.{name}")
        if "__getattr__" in vars(package):
            del package.__getattr__
            loader.exec_module(package)
        return getattr(package, name)

    package.__getattr__ = other  # type: ignore[method-assign]
    sys.modules[PACKAGE] = package


_enter()

from pyroute2.iproute import AsyncIPRoute, IPRoute  # noqa: E402 - the door has to be open before
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402
from pyroute2.netlink.generic.wireguard import AsyncWireGuard  # noqa: E402

__all__ = ["AsyncIPRoute", "AsyncWireGuard", "IPRoute", "NetlinkError"]
