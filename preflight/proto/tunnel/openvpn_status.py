"""Who is connected to an OpenVPN server, by the file of its option `status`, in each of the three versions; pure."""

import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

_SEPARATOR = re.compile(r"[,\t]")
_BEGINS, _ENDS = "Virtual Address", "GLOBAL STATS"
_ROUTE = "ROUTING_TABLE"


def clients(lines: Iterable[str]) -> tuple[str, ...]:
    """The address in the tunnel of each client, once: of IPv4 if it has one.

    A network behind a client is left out, and so is an address that the server only remembers, which ends in `C`.
    """
    found: dict[str, str] = {}
    table = False
    for line in lines:
        words = _SEPARATOR.split(line.strip())
        if len(words) < 2:
            table = table and words[0] != _ENDS
        elif words[0] == _BEGINS:  # the first version has no name in front of each line
            table = True
        elif words[0] == _ROUTE or table:
            with suppress(ValueError):  # a network, or a line that is cut
                address, _, place = words[1:4] if words[0] == _ROUTE else words[:3]
                _keep(found, place, str(ip_address(address)))
    return tuple(found.values())


def _keep(found: dict[str, str], place: str, address: str) -> None:
    """place: where the client is outside, for several may have one name."""
    if place not in found or (":" in found[place] and ":" not in address):
        found[place] = address
