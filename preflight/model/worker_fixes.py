"""Fixes of the lines in `mesh.env`, from which workers of a node read their settings."""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from preflight.model import parameters
from preflight.model.change import STRICT, Change, Command
from preflight.model.token import CLEANED_BY

_VALUES = {"VOX_MESH_CONTROL_ADDR": parameters.url, "VOX_MESH_SCOPE_ID": parameters.text_value}
"""What a fix may write there; a token is never one of its parameters."""
_NAMES = (*_VALUES, "VOX_MESH_TOKEN")
_BOM = "BOM"
_BEGINS = r"s/^[[:space:]]*(export|set)[[:space:]]+(VOX_[A-Z0-9_]*[[:space:]]*=)/\2/"
"""What makes all lines of workers begin with their names: if one was written for a shell, others are too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersLine(Change):
    """Let lines of a file of the workers begin with their names, as they read them, and one hold a value alone.

    value: another one in its place. rids: what surrounds the value that is there, as keys of `CLEANED_BY`.
    """

    __pydantic_config__ = STRICT
    needs_root: ClassVar[bool] = False

    id: Literal["workers.line"] = "workers.line"
    file: str
    name: str
    value: str | None = None
    rids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        parameters.path(self.file)
        parameters.one_of(self.name, _NAMES)
        if self.value is not None:
            parameters.one_of(self.name, _VALUES)
            _VALUES[self.name](self.value)
        for word in self.rids:
            parameters.one_of(word, CLEANED_BY)

    def _commands(self) -> tuple[Command, ...]:
        script = "; ".join((CLEANED_BY[_BOM], _BEGINS, self._line()))
        return (("sed", "--in-place", "--follow-symlinks", "--regexp-extended", script, self.file),)

    def _line(self) -> str:
        """The script for the lines with this name."""
        told = rf"^[[:space:]]*{self.name}[[:space:]]*="
        if self.value is not None:
            text = re.sub(r"[\\&#]", r"\\\g<0>", self.value)
            return f"s#{told}.*#{self.name}={text}#"
        kept = [script for word, script in CLEANED_BY.items() if word in self.rids and word != _BOM]
        return f"/{told}/{{ {'; '.join((f's/{told}[[:space:]]*//', *kept, f's/^/{self.name}=/'))} }}"
