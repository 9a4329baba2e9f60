"""All faults, by name, in the order of the ways and their stations: of two, the first is repaired first."""

from collections.abc import Mapping

from preflight.lab.stations import (
    addresses,
    answers,
    bearers,
    firewalls,
    naming,
    network,
    network_quality,
    outer_endpoints,
    outer_filters,
    outer_receiver,
    outer_routes,
    reaching,
    routing,
    servers,
    tls,
    url,
)
from preflight.lab.stations.fault import Fault

_INSIDE = (addresses, routing, firewalls)
_OUTSIDE = (outer_routes, outer_filters, network, network_quality, outer_receiver, outer_endpoints)
_REQUEST = (url, naming, reaching, tls, servers, bearers, answers)
_MODULES = (*_INSIDE, *_OUTSIDE, *_REQUEST)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
