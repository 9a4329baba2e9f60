"""All faults, by name."""

from collections.abc import Mapping

from preflight.lab.stations import answers, bearers, firewalls, network, posture, servers, tls, tokens
from preflight.lab.stations.fault import Fault

_MODULES = (firewalls, network, tls, servers, bearers, answers, tokens, posture)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
