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
    reaching,
    reverse_paths,
    routing,
    servers,
    sessions,
    sockets,
    tls,
    url,
)
from preflight.lab.stations.fault import Fault

_SENDER = (addresses, routing, firewalls, devices, sessions, policies)
_OUTSIDE = (outer_routes, network)
_RECEIVER = (reverse_paths, sockets)
_REQUEST = (url, naming, reaching, tls, servers, bearers, answers)

_ALL = tuple(fault for module in (*_SENDER, *_OUTSIDE, *_RECEIVER, *_REQUEST) for fault in module.FAULTS)

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _ALL}

assert len(FAULTS) == len(_ALL), "two faults have one name"
