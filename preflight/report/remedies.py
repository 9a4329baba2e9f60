"""Remedies as a report holds them; a fix in it is read back strictly, for the report may be a stranger's."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from preflight.fixing.fix_data import FixEntry, read_fix
from preflight.model.fix import Fix
from preflight.model.later import Later
from preflight.model.remedy import Remedy, Where
from preflight.report.fields import Line, Part


def known_fix(data: object) -> object:
    """The same, but nothing for a fix that is not known: the lines in a report remain as text."""
    if data is None or isinstance(data, Fix):
        return data
    try:
        return read_fix(data)
    except ValueError:
        return None


class RemedyEntry(Part):
    """One thing to do: `fix` heals, `next` only shows more. `fix` is the change as data, null if it takes a person.

    A fix that this version does not know, or whose lines are others than those shown, is left out: what a person reads
    here is what would be done.
    """

    kind: Literal["fix", "next"]
    where: Where
    host: Line | None = Field(None, description="The target's name of the machine, null for this node.")
    lines: tuple[Line, ...]
    lasting: Line | None = None
    needs: Literal["root"] | None = None
    fix: Annotated[Annotated[Fix, Later(FixEntry)] | None, BeforeValidator(known_fix)] = None

    @field_validator("fix", mode="after")
    @classmethod
    def _as_shown(cls, fix: Fix | None, info: ValidationInfo) -> Fix | None:
        shown = info.data.get("kind") == "fix" and fix is not None and info.data.get("lines") == fix.lines
        return fix if shown else None

    @property
    def remedy(self) -> Remedy:
        """The remedy as the rest of the program has it."""
        return Remedy(
            kind=self.kind,
            lines=self.lines,
            where=self.where,
            host=self.host,
            lasting=self.lasting,
            needs=self.needs,
            fix=self.fix,
        )


def remedy_entry(remedy: Remedy) -> RemedyEntry:
    """A remedy for the report."""
    return RemedyEntry(
        kind=remedy.kind,
        where=remedy.where,
        host=remedy.host,
        lines=remedy.lines,
        lasting=remedy.lasting,
        needs=remedy.needs,
        fix=remedy.fix,
    )
