"""Records of unusable packages of checks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """An entry point, a module behind it or a check in it that cannot be used, and why."""

    origin: str
    name: str
    reason: str
