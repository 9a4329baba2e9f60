"""Values of a daemon's answer, checked against the type that this version knows: another version may send anything.

Each raises what `local.understood` catches.
"""

import math
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from preflight.model.host_port import join_host_port


def text(value: Any) -> str:
    """A string; a missing one is empty."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("no string")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of strings; a missing one is empty."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TypeError("no list")
    return tuple(map(text, value))


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("no number")
    return float(value)


def count(value: Any) -> int | None:
    """A non-negative integer; None if there is none."""
    return None if value is None else _whole(value)


def table(value: Any) -> Mapping[str, Any]:
    """An object; a missing one is empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def endpoint(address: Any, port: Any) -> str:
    """`ADDRESS:PORT`, an IPv6 address in brackets."""
    known = ip_address(text(address))
    whole = _whole(int(port) if isinstance(port, str) else port)
    if whole > 0xFFFF:
        raise ValueError("no port")
    return join_host_port(str(known), whole)


def endpoint_in(joined: Any, separator: str = ":") -> str:
    """An address and port from one string, such as `10.202.2.1/9993` or `[fd00::1]:4242`."""
    address, _, port = text(joined).rpartition(separator)
    return endpoint(address.strip("[]"), port)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("no count")
    return value
