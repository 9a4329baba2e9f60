"""All faults, by name."""

from collections.abc import Mapping

from preflight.lab.stations import (
    addresses,
    devices,
    firewalls,
    network,
    policies,
    reverse_paths,
    routing,
    sessions,
    sockets,
)
from preflight.lab.stations.fault import Fault

_MODULES = (addresses, routing, firewalls, devices, sessions, policies, reverse_paths, sockets, network)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
