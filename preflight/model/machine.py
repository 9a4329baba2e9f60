"""What a machine has that this program uses, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Family = Literal["debian", "fedora", "arch"]
"""Distributions with the same packages."""
Area = Literal["checks", "more", "lab"]
"""Who uses it: what `all` runs, other commands, or the laboratory."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found by reading. release: the kernel's. distribution: its own name for itself.

    capabilities: the effective ones that are of use here. ping_sockets: this user may send echoes without any.
    programs: those that were found. features: of the kernel, None where nothing shows whether it has them.
    ansible: the package for fleets is installed. listener: what has the responder's port, None if nothing has it.
    settings: why the settings cannot be used, empty if they can.
    """

    system: str
    release: str = ""
    distribution: str = ""
    family: Family | None = None
    python: tuple[int, int, int] = (3, 11, 0)
    root: bool = False
    capabilities: frozenset[str] = frozenset()
    ping_sockets: bool = False
    programs: frozenset[str] = frozenset()
    features: Mapping[str, bool | None] = field(default_factory=dict)
    ansible: bool = False
    port: int = 0
    listener: str | None = None
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that is used here, and what is not known without it.

    costs: what is not known or not possible without it. checks: those that see less. get: lines to paste, or sentences,
    which end with a full stop.
    """

    id: str
    area: Area
    state: Literal["here", "partly", "missing", "unknown"]
    title: str
    costs: str = ""
    checks: tuple[str, ...] = ()
    get: tuple[str, ...] = ()
