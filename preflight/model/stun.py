"""The reports of STUN servers, as plain data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from preflight.model.host_port import split_host_port

Silence = Literal["silent", "closed", "no-name", "no-route", "refused"]
"""Why a server reported nothing: no answer; its host says that the port is closed; its name has no address; packets to
it
cannot leave this node; it answered with an error."""


@dataclass(frozen=True, slots=True)
class StunAnswer:
    """One server. `server`: its name in the settings. `address`: the one that was asked, None without one.

    mapped: `ADDRESS:PORT` that the server saw, None with the reason in `why` and words in `detail`. local: the
    source. rejected: datagrams from the server that are not answers, by reason. Answers with the same local endpoint
    come from one socket.
    """

    server: str
    address: str | None = None
    local: str | None = None
    mapped: str | None = None
    rtt_ms: float | None = None
    why: Silence | None = None
    detail: str = ""
    rejected: Mapping[str, int] = field(default_factory=dict)


def host_of(endpoint: str) -> str:
    """The address of an `ADDRESS:PORT`."""
    return split_host_port(endpoint)[0]


def depends_on_destination(answers: Iterable[StunAnswer]) -> bool | None:
    """Whether one socket got different mappings towards different servers (RFC 4787 section 4.1).

    None: nothing to compare, because no two servers at different places saw the same socket.
    """
    by_socket: dict[str, dict[str, str]] = {}
    for answer in answers:
        if answer.mapped and answer.local and answer.address:
            by_socket.setdefault(answer.local, {})[answer.address] = answer.mapped
    compared: Sequence[dict[str, str]] = [seen for seen in by_socket.values() if len(seen) > 1]
    return any(len(set(seen.values())) > 1 for seen in compared) if compared else None
