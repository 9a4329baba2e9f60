"""All faults, by name, in the order of the ways and their stations: of two, the first is repaired first."""

from collections.abc import Mapping

from preflight.lab.stations import (
    addresses,
    answers,
    bearers,
    clones,
    devices,
    firewalls,
    forwarding,
    naming,
    narrow,
    network,
    network_quality,
    outer_endpoints,
    outer_filters,
    outer_receiver,
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
    clones,
    firewalls,
    policies,
    devices,
    outer_routes,
    outer_endpoints,
    outer_filters,
    network,
    narrow,
    network_quality,
    outer_receiver,
    reverse_paths,
    sockets,
    forwarding,
    url,
    naming,
    reaching,
    tls,
    servers,
    bearers,
    tokens,
    answers,
    posture,
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
