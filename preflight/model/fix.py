"""What heals, as data: a closed family of changes that this program can make.

A fix says what to change by parameters that are checked when it is made. The lines that a person pastes and the
command lines that the program runs are both built from them, so they cannot differ; the text of a report is never run.
`preflight.fixing` makes the change and can undo it.
"""

from typing import get_args

from preflight.model.filter_fixes import FilterPass, IptablesPass
from preflight.model.host_fixes import (
    ClockSync,
    Environment,
    PastProxy,
    PrivateFiles,
    ResponderStart,
    ServiceRestart,
    Setting,
    WgQuick,
)
from preflight.model.network_fixes import (
    FilterAccept,
    FilterDelete,
    KernelSettings,
    LinkAddresses,
    LinkMtu,
    LinkMtuByAddress,
    LinkUp,
    Route,
    RouteAround,
    WireguardPeer,
)

__all__ = [
    "KINDS",
    "ClockSync",
    "Environment",
    "FilterAccept",
    "FilterDelete",
    "FilterPass",
    "Fix",
    "IptablesPass",
    "KernelSettings",
    "LinkAddresses",
    "LinkMtu",
    "LinkMtuByAddress",
    "LinkUp",
    "PastProxy",
    "PrivateFiles",
    "ResponderStart",
    "Route",
    "RouteAround",
    "ServiceRestart",
    "Setting",
    "WgQuick",
    "WireguardPeer",
]

Fix = (
    LinkMtu
    | LinkMtuByAddress
    | LinkUp
    | LinkAddresses
    | KernelSettings
    | Route
    | RouteAround
    | WireguardPeer
    | WgQuick
    | ServiceRestart
    | ClockSync
    | PrivateFiles
    | FilterDelete
    | FilterAccept
    | FilterPass
    | IptablesPass
    | Setting
    | Environment
    | PastProxy
    | ResponderStart
)

KINDS: tuple[type[Fix], ...] = get_args(Fix)
