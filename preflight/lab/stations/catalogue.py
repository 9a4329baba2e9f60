"""All faults, by name, in the order of the ways and their stations: of two, the first is repaired first."""

from collections.abc import Mapping

from preflight.lab.stations import (
    addresses,
    answers,
    bearers,
    firewalls,
    naming,
    network,
    outer_routes,
    posture,
    reaching,
    routing,
    servers,
    tls,
    tokens,
    url,
)
from preflight.lab.stations.fault import Fault

_MODULES = (
    *(addresses, routing, firewalls, outer_routes, network),
    *(url, naming, reaching, tls, servers, bearers, answers),
    *(tokens, posture),
)

FAULTS: Mapping[str, Fault] = {fault.name: fault for module in _MODULES for fault in module.FAULTS}
