"""All faults, by name."""

from collections.abc import Mapping

from preflight.lab.stations import addresses, firewalls, network, routing
from preflight.lab.stations.fault import Fault

_MODULES = (addresses, routing, firewalls, network)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
