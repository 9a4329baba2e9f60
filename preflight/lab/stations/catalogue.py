"""All faults, by name."""

from collections.abc import Mapping

from preflight.lab.stations import (
    network,
    network_quality,
    outer_filters,
    outer_receiver,
    outer_routes,
    receiver,
    sender,
)
from preflight.lab.stations.fault import Fault

_MODULES = (sender, outer_routes, outer_filters, network, network_quality, outer_receiver, receiver)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
