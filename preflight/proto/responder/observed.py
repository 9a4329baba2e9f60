"""What a responder observed, as an optional field of its report by mailbox: bounded, and read with distrust.

Only what is named here crosses: stations, counts, codes, facts of a few kinds, each with its own form, and changes of
the peer's network, with their parameters. No sentence does: the reader makes them. An entry that is not exactly like
that is ignored, and so is a fact, or a change.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, get_args

from preflight.model import parameters
from preflight.model.facts import DeathFacts
from preflight.model.fix import (
    AddressDelete,
    FilterPass,
    Fix,
    FlowForget,
    ForwardingEntry,
    IpsecPolicyDelete,
    IptablesPass,
    KernelSettings,
    LinkUp,
    NeighbourDelete,
    PolicyRule,
    QueueDelete,
    RefusalDelete,
    Route,
    WireguardMark,
    WireguardPeer,
)
from preflight.model.observed import Direction, Finding, PacketClass, PeerObservation
from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.return_path import INTERFACE_NAME

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MOST_ENTRIES = 24
MOST_PACKETS = 10_000
"""A burst is far smaller."""
LONGEST_COMMENT = 80
MOST_NETWORKS = 16
MOST_FIXES = 6
"""Changes that heal one death together."""
_STATION = re.compile(r"[a-z-]{1,24}")
_CODE = re.compile(r"[a-z]{1,12}\.[a-z-]{1,32}")
_CHAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,63} [A-Za-z0-9_][A-Za-z0-9_./-]{0,63}")
_SYSCTL = re.compile(r"[a-z0-9_]{1,32}(\.[A-Za-z0-9_/-]{1,32}){0,5}")
_ROUTE_TYPES = frozenset({"unicast", "local", "broadcast", "blackhole", "unreachable", "prohibit", "throw", "none"})
_WEIGHT = {"killed": 0, "absent": 1, "seen": 2, "blind": 3, "clear": 4}
"""What decides comes first: the rest is left out where the room is not enough."""

PeerFix = (
    FilterPass
    | IptablesPass
    | FlowForget
    | KernelSettings
    | Route
    | PolicyRule
    | RefusalDelete
    | AddressDelete
    | NeighbourDelete
    | ForwardingEntry
    | QueueDelete
    | IpsecPolicyDelete
    | LinkUp
    | WireguardPeer
    | WireguardMark
)
"""The changes that a peer may name: none of them writes a file or starts a program of the peer's choice."""


def encode(observed: Iterable[PeerObservation]) -> list[dict[str, Any]]:
    """The entries of a report, the most important ones first; what may not cross is left out."""
    known = (kept for each in observed if (kept := _kept(each)) is not None)
    return [_entry(each) for each in sorted(known, key=lambda each: _WEIGHT[each.finding])[:MOST_ENTRIES]]


def decode(value: object) -> tuple[PeerObservation, ...]:
    """Read the field of a report, whatever is in it."""
    entries = value[:MOST_ENTRIES] if isinstance(value, list) else []
    read = (_read(entry) for entry in entries if isinstance(entry, dict))
    return tuple(each for each in read if each is not None)


def encode_tunnel(tunnel: PeerTunnel) -> dict[str, Any]:
    """What crosses of the responder's end of the tunnel: whose keys and addresses it has for the asker, no secret."""
    return {
        "interface": tunnel.interface,
        "public_key": tunnel.public_key,
        "knows_key": tunnel.knows_key,
        "owner": tunnel.owner,
        "allowed": list(tunnel.allowed[:MOST_NETWORKS]),
        "preshared": tunnel.preshared,
    }


def decode_tunnel(value: object) -> PeerTunnel | None:
    """Read it; None unless every field has its form."""
    if not isinstance(value, dict) or value.keys() - _TUNNEL.keys():
        return None
    try:
        read = {name: fits(value[name]) for name, fits in _TUNNEL.items() if value.get(name) is not None}
    except ValueError:
        return None
    return PeerTunnel(**read)


def _kept(observed: PeerObservation) -> PeerObservation | None:
    """An observation with the facts that may cross: a rule's comment, for example, may hold anything."""
    facts = observed.facts
    if facts is not None and facts.comment is not None:
        facts = replace(facts, comment=facts.comment[:LONGEST_COMMENT])
    sent, seen = min(observed.sent, MOST_PACKETS), min(observed.seen, MOST_PACKETS)
    return _read(_entry(replace(observed, facts=facts, sent=sent, seen=seen)))


def _entry(observed: PeerObservation) -> dict[str, Any]:
    """What is not said is left out: a mailbox takes few bytes."""
    facts = observed.facts.measurements() if observed.facts else {}
    fields = {
        "packets": "" if observed.packets == "inner" else observed.packets,
        "sent": observed.sent,
        "seen": observed.seen,
        "code": observed.code,
        "facts": {name: value for name, value in facts.items() if name in _FACTS},
        "likely": not observed.certain,
        **_written(observed.fixes),
    }
    said = {name: value for name, value in fields.items() if value}
    return {"station": observed.station, "direction": observed.direction, "finding": observed.finding, **said}


def _read(entry: Mapping[str, Any]) -> PeerObservation | None:
    direction, finding = _one_of(Direction, entry.get("direction")), _one_of(Finding, entry.get("finding"))
    packets, station = _one_of(PacketClass, entry.get("packets", "inner")), entry.get("station")
    code, likely = entry.get("code"), entry.get("likely", False)
    sent, seen = entry.get("sent", 0), entry.get("seen", 0)
    if not (isinstance(station, str) and _STATION.fullmatch(station) and isinstance(likely, bool)):
        return None
    if direction is None or finding is None or packets is None:
        return None
    if not (_is_count(sent) and _is_count(seen)):
        return None
    if code is not None and not (isinstance(code, str) and _CODE.fullmatch(code)):
        return None
    return PeerObservation(
        station=station,
        finding=finding,
        direction=direction,
        packets=packets,
        sent=sent,
        seen=seen,
        code=code,
        facts=_facts(entry.get("facts")),
        certain=not likely,
        fixes=_fixes(entry) if finding == "killed" else (),
    )


def _written(fixes: Iterable[Fix]) -> dict[str, Any]:
    """The parameters of the changes: all of them, or nothing if one is of a kind that may not cross.

    Several have a separate field, which a reader that knows of one only does not take for all of them.
    """
    known = tuple(fixes)
    if not known or len(known) > MOST_FIXES or not all(isinstance(fix, get_args(PeerFix)) for fix in known):
        return {}
    written = [{name: value for name, value in asdict(fix).items() if value is not None} for fix in known]
    return {"fix": written[0]} if len(written) == 1 else {"fixes": written}


@cache
def _adapter() -> "TypeAdapter[Fix]":
    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[PeerFix, Field(discriminator="id")])


def _fixes(entry: Mapping[str, Any]) -> tuple[Fix, ...]:
    """Every change that an entry names, or none of them."""
    values = entry.get("fixes", [entry["fix"]] if "fix" in entry else [])
    if not isinstance(values, list) or len(values) > MOST_FIXES:
        return ()
    read = [_fix(value) for value in values]
    return () if None in read else tuple(fix for fix in read if fix is not None)


def _fix(value: object) -> Fix | None:
    """A change that has all its parameters and no other, each of its own kind."""
    try:
        return _adapter().validate_json(json.dumps(value))
    except (ValueError, RecursionError):  # pydantic's own errors are ValueErrors
        return None


def _one_of(literal: Any, value: object) -> Any:
    """The value, if it is one of those of the literal type."""
    return value if isinstance(value, str) and value in get_args(literal) else None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_PACKETS


def _facts(value: object) -> DeathFacts | None:
    """The facts that have their form; None without any."""
    if not isinstance(value, dict):
        return None
    found: dict[str, Any] = {}
    for name, read in _FACTS.items():
        if name in value:
            with suppress(ValueError):
                found[name] = read(value[name])
    return DeathFacts(**found) if found else None


def _number(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"not a number from {least} to {most}")
        return value

    return read


def _text(fits: Callable[[str], object]) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not fits(value):
            raise ValueError("not a text of this form")
        return value

    return read


def _address(value: object) -> str:
    if not isinstance(value, str) or "%" in value:
        raise ValueError("not an address")
    return str(ip_address(value))


def _is_key(text: str) -> bool:
    parameters.key(text)
    return True


def _is_comment(text: str) -> bool:
    return text.isprintable() and 0 < len(text) <= LONGEST_COMMENT


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")  # noqa: TRY004 - all that is read here raises the same
    return value


def _networks(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_NETWORKS:
        raise ValueError("not a short list of networks")
    return tuple(_network(each) for each in value)


def _network(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a network")  # noqa: TRY004 - as above
    parameters.network(value)
    return value


_TUNNEL: Mapping[str, Callable[[object], Any]] = {
    "interface": _text(INTERFACE_NAME.fullmatch),
    "public_key": _text(_is_key),
    "knows_key": _flag,
    "owner": _text(_is_key),
    "allowed": _networks,
    "preshared": _flag,
}

_FACTS: Mapping[str, Callable[[object], str | int]] = {
    "rule_handle": _number(1, 2**63 - 1),
    "chain": _text(_CHAIN.fullmatch),
    "comment": _text(_is_comment),
    "route_type": _text(_ROUTE_TYPES.__contains__),
    "gateway": _address,
    "interface": _text(INTERFACE_NAME.fullmatch),
    "source": _address,
    "address": _address,
    "sysctl": _text(_SYSCTL.fullmatch),
    "offender": _address,
    "port": _number(1, 65535),
    "public_key": _text(_is_key),
}
"""The facts that cross, and the form of each."""
