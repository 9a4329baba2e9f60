"""All faults, by name."""

from collections.abc import Mapping

from preflight.lab.stations import naming, network, reaching, receiver, sender, url
from preflight.lab.stations.fault import Fault

_MODULES = (sender, network, receiver, url, naming, reaching)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
