"""Remedies as data: what to do about a finding, where, and whether it heals or only shows more."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from preflight.model.change import REVALIDATED
from preflight.model.fix import Fix
from preflight.model.later import Later

Kind = Literal["fix", "next"]
"""fix: doing it heals. next: it only shows more, or it is not certain that it heals."""

Where = Literal["node", "peer", "control host", "product console", "router"]

_COMMENT = re.compile(r"\s#\s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One thing to do.

    lines: to paste, or sentences, which end with a full stop or a question mark. where: the machine or place; host: its
    name as a target of results, None for this node. lasting: what makes it outlive a restart. fix: the same change as
    data, where this program can make it; the lines are then those of the fix.
    """

    __pydantic_config__ = REVALIDATED

    kind: Kind
    lines: tuple[str, ...]
    where: Where = "node"
    host: str | None = None
    lasting: str | None = None
    needs: Literal["root"] | None = None
    fix: Annotated[Fix, Later(Fix)] | None = None

    def __post_init__(self) -> None:
        if self.kind == "next" and self.fix is not None:
            raise ValueError("what only shows more changes nothing")
        if self.fix is not None and self.lines != self.fix.lines:
            raise ValueError("the lines differ from those of the fix")

    @property
    def shown(self) -> tuple[str, ...]:
        """The lines with what a reader must know as comments: where, and what makes it last."""
        notes = [place] if (place := _place(self.where, self.host)) else []
        notes += [f"to persist: {self.lasting}"] if self.lasting else []
        return tuple(_noted(line, notes) for line in self.lines)


def is_sentence(line: str) -> bool:
    """Whether there is nothing to paste: a question too is only to be read, and a comment belongs to a command."""
    return line.endswith((".", "?")) and not _COMMENT.search(line)


Remedies = tuple[Remedy, ...]
"""What to do about one finding. All fixes in it belong together, such as one here and one at the peer."""


def heal(
    make: Callable[[], Fix], *, where: Where = "node", host: str | None = None, lasting: str | None = None
) -> Remedies:
    """A fix that this program can make; nothing if a parameter, which may come from outside, is not valid."""
    try:
        fix = make()
    except ValueError:
        return ()
    needs: Literal["root"] | None = "root" if fix.needs_root else None
    return (Remedy(kind="fix", lines=fix.lines, where=where, host=host, lasting=lasting, needs=needs, fix=fix),)


def by_hand(
    *lines: str, where: Where = "node", host: str | None = None, lasting: str | None = None, root: bool = False
) -> Remedies:
    """What heals, but only a person can do. root: the lines need it."""
    needs: Literal["root"] | None = "root" if root else None
    return (Remedy(kind="fix", lines=lines, where=where, host=host, lasting=lasting, needs=needs),)


def look(*lines: str, where: Where = "node", host: str | None = None, root: bool = False) -> Remedies:
    """What only shows more, or may not heal. root: the lines need it."""
    return (Remedy(kind="next", lines=lines, where=where, host=host, needs="root" if root else None),)


def to_try(remedies: Remedies) -> Remedies:
    """The same lines as something that may not heal."""
    return tuple(replace(each, kind="next", fix=None, lasting=None) for each in remedies)


def as_text(remedies: Iterable[Remedy]) -> str | None:
    """All of them as one text; None if there are none."""
    return "\n".join(dict.fromkeys(line for remedy in remedies for line in remedy.shown)) or None


def _place(where: Where, host: str | None) -> str:
    if host is not None:
        return f"on {host}"
    return {"node": "", "product console": "in the product's console"}.get(where, f"on the {where}")


def _noted(line: str, notes: list[str]) -> str:
    """A sentence says itself where, and a line that has a comment keeps it."""
    if not notes or is_sentence(line) or _COMMENT.search(line):
        return line
    return f"{line}   # {'; '.join(notes)}"
