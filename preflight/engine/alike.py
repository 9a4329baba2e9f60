"""Skips that say the same about many peers, as one result about this node: pure.

In a mesh nearly everything is good, and what runs only in case of trouble would say of each of a thousand peers that
there was none. Only what says nothing else is put together: a skip that something blocks, and one that shows anything
or advises anything, stays with its peer.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from preflight.api import CONTROL, NODE, Direction, Result, Status, codes

FEW = 8
"""Up to this many peers each has a separate result."""
MANY = 50
"""From more peers on nobody looks at what proves of each that it is good; its numbers stay."""


def folded(results: Sequence[Result]) -> tuple[Result, ...]:
    """The results of one check, in their order; what is alike at many peers is one result, in the first one's place."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if _says_only_that(result):
            groups.setdefault(_without_name(result), []).append(result)
    many = {message: group for message, group in groups.items() if len(group) > FEW}
    if not many:
        return tuple(results)
    taken = {result.aspect for result in results if (result.target, result.direction) == (NODE, Direction.LOCAL)}
    first = {id(group[0]): (message, group) for message, group in many.items()}
    gone = {id(result) for group in many.values() for result in group}
    kept: list[Result] = []
    for result in results:
        if id(result) in first:
            kept.append(_as_one(*first[id(result)], taken))
        elif id(result) not in gone:
            kept.append(result)
    return tuple(kept)


def without_proofs(results: Sequence[Result]) -> Sequence[Result]:
    """The results of one check; where they are about many peers, those that are good are without their evidence."""
    if len({result.target for result in results}) <= MANY:
        return results
    return tuple(replace(each, evidence=()) if each.status is Status.PASS else each for each in results)


def _says_only_that(result: Result) -> bool:
    told = (result.remedy, result.station, result.facts, result.blocked_by)
    shown = (result.measurements, result.evidence, result.observations, result.aspect)
    about_a_peer = result.target not in (NODE, CONTROL)
    idle = result.status is Status.SKIP and result.code == codes.RUN_NOT_APPLICABLE
    return idle and about_a_peer and not any(shown) and all(each is None for each in told)


def _without_name(result: Result) -> str:
    """The message with a hole where the peer's name is as a whole word."""
    return re.sub(rf"(?<![\w.:-]){re.escape(result.target)}(?![\w:-]|\.\w)", "\0", result.message)


def _as_one(message: str, group: Sequence[Result], taken: set[str]) -> Result:
    """taken: aspects of results about this node, to which this one's is added."""
    peers = f"each of {len(group)} peers"
    said = message.replace("\0", peers) if "\0" in message else f"{peers}: {message}"
    aspect = "" if "" not in taken else f"alike-{len(taken)}"
    taken.add(aspect)
    return replace(group[0], target=NODE, direction=Direction.LOCAL, message=said, aspect=aspect)
