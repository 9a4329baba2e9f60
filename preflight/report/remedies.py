"""Remedies as a report holds them; a fix in it is read back strictly, for the report may be a stranger's."""

import json
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator

from preflight.model.fix import Fix
from preflight.model.remedy import Remedy, Where
from preflight.report.fields import Line, Part

FixEntry = Annotated[Fix, Field(discriminator="id")]


@cache
def _fix_type() -> TypeAdapter[Fix]:
    """Made with the first fix: most runs find nothing to fix."""
    return TypeAdapter(FixEntry)


def as_data(fix: Fix) -> dict[str, Any]:
    """A fix as JSON values: its id and its parameters."""
    data: dict[str, Any] = _fix_type().dump_python(fix, mode="json")
    return data


def read_fix(data: object) -> Fix:
    """A fix from JSON values. Raises ValueError for an unknown id, or any parameter that is not exactly right."""
    try:
        return _fix_type().validate_json(json.dumps(data), strict=True)
    except (ValidationError, TypeError, RecursionError) as error:
        raise ValueError(f"this is not a fix that can be made: {error}") from None


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
    fix: Annotated[FixEntry | None, BeforeValidator(known_fix)] = None

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
