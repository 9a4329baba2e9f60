"""The request of the command line, as every command passes it to a session."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Request:
    """The request of the command line; `command` repeats it.

    alone: this process does nothing else, so its start is the run's.
    """

    command: tuple[str, ...] = ()
    config: Path | None = None
    peers: tuple[str, ...] = ()
    control_url: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    timeout: float | None = None
    wait: float = 0.0
    outputs: tuple[str, ...] = ()
    fail_on: str = "fail"
    allow_inconclusive: bool = False
    enroll: bool = False
    intrusive: bool = False
    trace: bool = False
    via: Literal["ssh"] | None = None
    ssh_config: Path | None = None
    bootstrap_token_file: Path | None = None
    credentials_out: Path | None = None
    lab: str | None = None
    inside_lab: str | None = None
    redact: tuple[Literal["addresses"], ...] = ()
    capture: bool = False
    debug: Path | None = None
    baseline: Path | None = None
    quiet: bool = False
    verbose: bool = False
    summary: bool = False
    durations: bool = False
    no_color: bool = False
    named: tuple[str, ...] = ()
    alone: bool = False
