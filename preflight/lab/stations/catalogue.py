"""All faults, by name."""

from collections.abc import Mapping

from preflight.lab.stations import firewalls, naming, network, reaching, servers, tls, url
from preflight.lab.stations.fault import Fault

_MODULES = (firewalls, network, url, naming, reaching, tls, servers)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
