"""A run on paper: rounds, time, packets. Pure."""

from collections.abc import Sequence

from preflight.fleet.hosts import Host
from preflight.fleet.run import SHORT_S
from preflight.fleet.schedule import Pairs, Round, make_rounds
from preflight.model.printable import number_of, one_line

PACKETS_A_PAIR = 500
"""About this many packets of 200 bytes cross the overlay for one good pair, both directions together (in a lab)."""
_SHOWN = 200
"""With more pairs than this only their number is printed."""
_AROUND_S = 25.0
"""For everything but the rounds."""


def plan_text(hosts: Sequence[Host], wanted: Pairs, seed: int) -> str:
    """Who measures whom in which round, and what it takes."""
    sites = {host.name: host.site for host in hosts if host.site is not None}
    rounds = make_rounds([host.name for host in hosts], wanted, sites, seed)
    pairs = sum(map(len, rounds))
    lines = [
        f"{number_of('nodes', len(hosts))}, {number_of('sites', len(set(sites.values())))}, "
        f"{number_of('pairs', pairs)} in {number_of('rounds', len(rounds))}",
        f"about {len(rounds) * (SHORT_S + 1) + _AROUND_S:.0f} s if all is good, "
        f"and about {pairs * PACKETS_A_PAIR} packets",
    ]
    unknown = [host.name for host in hosts if host.address is None]
    if unknown:
        lines.append(f"no overlay_address, so the node is asked: {', '.join(map(one_line, unknown))}")
    lines += _table(rounds) if pairs <= _SHOWN else []
    return "\n".join([*lines, ""])


def _table(rounds: Sequence[Round]) -> list[str]:
    return [
        f"round {number}: {', '.join(one_line(f'{pair.initiator} ↔ {pair.target}') for pair in row)}"
        for number, row in enumerate(rounds, start=1)
    ]
