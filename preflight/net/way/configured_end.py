"""Where the tunnel's configuration file says that a silent peer is: its name is looked up again, as wg-quick would."""

from dataclasses import replace
from typing import Final

from preflight.model.event import Listener
from preflight.net.lookup import system_lookup
from preflight.proto.way.configured_end import configured_end
from preflight.proto.way.observers import Record

LOOKUP_S: Final = 1.5
"""How long a name may take: without it only this reason is not found."""


async def with_configured_end(record: Record, listener: Listener | None = None) -> Record:
    """The record with the end that the file has, if nothing has answered; without a change else."""
    end = configured_end(record.tunnel, record.peer.address) if not record.stats.answered else None
    if end is None:
        return record
    found = await system_lookup(end.host, LOOKUP_S, listener)
    return replace(record, configured=replace(end, addresses=found.addresses))
