"""Secrets that stand where they must not: places only, never a value."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Leak:
    """One place. what: the variable, or what of this node's it is; commit: None in the tree that is checked out."""

    path: str
    what: str
    line: int | None = None
    commit: str | None = None

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place} ({self.what})" if self.commit is None else f"{place} in commit {self.commit} ({self.what})"


@dataclass(frozen=True, slots=True)
class Repository:
    """What one git repository holds. unread: why it could not be read; unfinished: what was not searched to its end."""

    root: Path
    leaks: tuple[Leak, ...] = ()
    commits: int = 0
    unread: str | None = None
    missing_tool: bool = False
    unfinished: str | None = None


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file with a secret. mode: its permission bits, None where it could not be looked at."""

    path: Path
    what: str
    mode: int | None

    @property
    def open_to_others(self) -> bool:
        """Whether anybody but its owner may read or write it."""
        return self.mode is not None and bool(self.mode & 0o077)
