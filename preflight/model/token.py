"""Tokens as this node holds them: where each was found, what is wrong with its text, and how a file is put right."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import SecretStr

CLEANED_BY: Mapping[str, str] = {
    "BOM": r"1s/^\xEF\xBB\xBF//",
    "CR LF": r"s/\r+$//",
    "white space": r"s/^[[:space:]]+//; s/[[:space:]]+$//; /^$/d",
    "NAME=": r"s/^(export[[:space:]]+)?[A-Za-z_][A-Za-z0-9_]*[[:space:]]*=[[:space:]]*//",
    "quotes": r"""s/^"(.*)"$/\1/; s/^'(.*)'$/\1/""",
    "Bearer": r"s/^[Bb][Ee][Aa][Rr][Ee][Rr][[:space:]]+//",
}
"""What surrounds a token in a file and does not belong to it, and the script of sed (extended expressions) that takes
it away; in the order in which they are applied."""


@dataclass(frozen=True, slots=True)
class TokenTrouble:
    """Why a token cannot be right, without a character of it.

    problem: in a word or two. said: a clause about the file or the variable. cleaned_by: the keys of `CLEANED_BY` that
    leave a token which can be right; none if a person must write it again.
    """

    problem: str
    said: str
    cleaned_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldToken:
    """One token, and where it was found. `repr` hides its text.

    source: the variable, option or setting. path: its file, if it is in one. line: the file holds other lines too, so
    no command may clean it. value: what may be sent; None if the text cannot be right, for the reason in `trouble`.
    """

    source: str
    value: "SecretStr | None"
    trouble: TokenTrouble | None = None
    path: Path | None = None
    line: bool = False

    @property
    def place(self) -> str:
        """The source for a message, with its file."""
        return self.source if self.path is None or str(self.path) in self.source else f"{self.source} ({self.path})"


@dataclass(frozen=True, slots=True)
class UnreadLine:
    """A line of `mesh.env` that sets a value for a shell, and none for workers, who read `NAME=value` alone.

    behind: what is in front of the name. `repr` does not show the value.
    """

    path: Path
    name: str
    behind: str
    text: str = field(repr=False)

    @property
    def said(self) -> str:
        """A clause about the file."""
        sign = "a byte order mark (BOM)" if self.behind == "BOM" else self.behind
        return f"has {sign} in front of {self.name}, and workers read lines that begin with the name alone"


@dataclass(frozen=True, slots=True)
class Better:
    """What the control plane accepts where it refused the bearer that won, `used`.

    how: `hidden`: another one of this node, which `used` hides; `decoded`: what `used` is the base64 of; `again`: the
    same one, in another answer.
    """

    used: HeldToken
    other: HeldToken
    how: Literal["hidden", "decoded", "again"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Places of this node that say different things about its cluster.

    what: `scope id`, `control URL` or `token`. used: the place that won; others: those that differ from it. values:
    what each says, in the same order, the place that won first; none for a token.
    """

    what: str
    used: str
    others: tuple[str, ...]
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """The variable by which workers of this node stay out of the cluster; file: where it is, if not the environment."""

    variable: str
    value: str
    file: Path | None = None

    @property
    def place(self) -> str:
        """Where it is said."""
        return f"{self.variable} in {self.file}" if self.file else self.variable
