"""What several peers have in common: one fix that heals all their ways, or silence without exception. Pure."""

from collections.abc import Iterable, Sequence

from preflight.api import CONTROL, NODE, Remedies, Result, Status
from preflight.model.remedy import is_sentence

SILENT = "reach.unreachable"
_NAMED = 3


def healing(results: Iterable[Result]) -> Remedies:
    """What heals at the place at which packets die; empty if nothing is known to."""
    placed = (result.remedies for result in results if result.station is not None)
    return tuple(remedy for remedies in placed for remedy in remedies if remedy.kind == "fix")


def commands(results: Iterable[Result]) -> frozenset[tuple[str, ...]]:
    """The same as lines to paste on this node; empty where there are only sentences."""
    here = (each for each in healing(results) if each.where == "node" and each.host is None)
    return frozenset(each.lines for each in here if not all(map(is_sentence, each.lines)))


def nobody_answers(results: Iterable[Result]) -> bool:
    """Whether several peers were asked, and none has answered anything, so that they are silent for one reason."""
    asked = [each for each in results if each.check.startswith("reach.") and each.target not in (NODE, CONTROL)]
    silent = {each.target for each in asked if each.code is not None and each.code.slug == SILENT}
    return len(silent) > 1 and not any(each.status is Status.PASS for each in asked)


def too(targets: Sequence[str]) -> str:
    """Who else is silent, in words; empty if nobody is."""
    if not targets:
        return ""
    if len(targets) == 1:
        return f"; {targets[0]} is silent too"
    if len(targets) <= _NAMED:
        return f"; {', '.join(targets[:-1])} and {targets[-1]} are silent too"
    return f"; {', '.join(targets[:_NAMED])} and {len(targets) - _NAMED} others are silent too"


def union(parts: Iterable[Remedies]) -> Remedies:
    """All remedies, each once, in their order."""
    return tuple(dict.fromkeys(remedy for part in parts for remedy in part))
