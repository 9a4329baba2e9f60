"""All faults, by name, in the order of the ways and their stations: of two, the first is repaired first."""

from collections.abc import Mapping

from preflight.lab.stations import (
    addresses,
    answers,
    bearers,
    devices,
    firewalls,
    naming,
    network,
    outer_routes,
    policies,
    posture,
    reaching,
    reverse_paths,
    routing,
    servers,
    sessions,
    sockets,
    tls,
    tokens,
    url,
)
from preflight.lab.stations.fault import Fault

_MODULES = (
    addresses,
    routing,
    sessions,
    firewalls,
    devices,
    outer_routes,
    network,
    sockets,
    url,
    naming,
    reaching,
    tls,
    servers,
    bearers,
    tokens,
    answers,
    posture,
    policies,
    reverse_paths,
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
