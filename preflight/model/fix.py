"""What heals, as data: a closed family of changes that this program can make.

A fix says what to change by parameters that are checked when it is made. The lines that a person pastes and the
command lines that the program runs are both built from them, so they cannot differ; the text of a report is never run.
`preflight.fixing` makes the change and can undo it.
"""

from typing import get_args

from preflight.model.filter_fixes import FilterPass, FlowForget, IptablesPass
from preflight.model.host_fixes import (
    BearerFromWorkerToken,
    ClockSync,
    Environment,
    PastProxy,
    PeerAddress,
    PrivateFiles,
    ResponderStart,
    ServiceRestart,
    Setting,
    TokenAlone,
    WgQuick,
)
from preflight.model.name_fixes import HostsName, HostsNameLess, ResolverLess, SwitchToDns
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
from preflight.model.product_fixes import TailscaleTakes, ZeroTierTakes
from preflight.model.routing_fixes import (
    AddressDelete,
    ForwardingEntry,
    IpsecPolicyDelete,
    NeighbourDelete,
    PolicyRule,
    QueueDelete,
    RefusalDelete,
)
from preflight.model.wireguard_fixes import NoPresharedKey, WgQuickValue, WireguardKey, WireguardMark, WireguardPort
from preflight.model.worker_fixes import WorkersLine

__all__ = [
    "KINDS",
    "AddressDelete",
    "BearerFromWorkerToken",
    "ClockSync",
    "Environment",
    "FilterAccept",
    "FilterDelete",
    "FilterPass",
    "Fix",
    "FlowForget",
    "ForwardingEntry",
    "HostsName",
    "HostsNameLess",
    "IpsecPolicyDelete",
    "IptablesPass",
    "KernelSettings",
    "LinkAddresses",
    "LinkMtu",
    "LinkMtuByAddress",
    "LinkUp",
    "NeighbourDelete",
    "NoPresharedKey",
    "PastProxy",
    "PeerAddress",
    "PolicyRule",
    "PrivateFiles",
    "QueueDelete",
    "RefusalDelete",
    "ResolverLess",
    "ResponderStart",
    "Route",
    "RouteAround",
    "ServiceRestart",
    "Setting",
    "SwitchToDns",
    "TailscaleTakes",
    "TokenAlone",
    "WgQuick",
    "WgQuickValue",
    "WireguardKey",
    "WireguardMark",
    "WireguardPeer",
    "WireguardPort",
    "WorkersLine",
    "ZeroTierTakes",
]

Fix = (
    LinkMtu
    | LinkMtuByAddress
    | LinkUp
    | LinkAddresses
    | KernelSettings
    | Route
    | RouteAround
    | PolicyRule
    | RefusalDelete
    | AddressDelete
    | NeighbourDelete
    | ForwardingEntry
    | QueueDelete
    | IpsecPolicyDelete
    | WireguardPeer
    | WireguardKey
    | WireguardPort
    | WireguardMark
    | NoPresharedKey
    | WgQuick
    | WgQuickValue
    | ServiceRestart
    | ClockSync
    | PrivateFiles
    | FilterDelete
    | FilterAccept
    | FilterPass
    | FlowForget
    | IptablesPass
    | Setting
    | PeerAddress
    | Environment
    | PastProxy
    | TokenAlone
    | WorkersLine
    | BearerFromWorkerToken
    | ResponderStart
    | HostsName
    | HostsNameLess
    | SwitchToDns
    | ResolverLess
    | TailscaleTakes
    | ZeroTierTakes
)

KINDS: tuple[type[Fix], ...] = get_args(Fix)
