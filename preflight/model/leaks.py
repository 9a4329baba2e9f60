"""Misplaced secrets: only their places, never a value."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Leak:
    """One place. what: the variable, or which secret of this node it is; commit: None: in the checked-out tree."""

    path: str
    what: str
    line: int | None = None
    commit: str | None = None

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place} ({self.what})" if self.commit is None else f"{place} in commit {self.commit} ({self.what})"


@dataclass(frozen=True, slots=True)
class Repository:
    """The findings in one git repository. unread: why it could not be read; unfinished: what was not searched
    completely.
    """

    root: Path
    leaks: tuple[Leak, ...] = ()
    commits: int = 0
    unread: str | None = None
    missing_tool: bool = False
    unfinished: str | None = None


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file with a secret. mode: its permission bits, None if they could not be read."""

    path: Path
    what: str
    mode: int | None

    @property
    def open_to_others(self) -> bool:
        """Whether other users than its owner may read or write it."""
        return self.mode is not None and bool(self.mode & 0o077)
