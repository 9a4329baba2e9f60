"""The record of a lab between commands, and the lock that keeps two commands from using one lab.

The lab's directory is its lock: the command that holds it may build, use or remove the lab. A directory without a lock
holder and without a complete record is left from a crash.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from preflight.lab.blueprint import Kind, Places
from preflight.lab.names import LabError, LabNames, private_directory
from preflight.lab.signals import uninterrupted

RECORD = "state.json"
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True, slots=True)
class Parts:
    """The existing parts of a lab: nodes with a namespace, nodes with a tunnel device, and daemons."""

    namespaces: tuple[str, ...]
    tunnels: tuple[str, ...]
    daemons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """A finished lab. `scenario` is the name of a scenario, or of a topology without faults.

    ephemeral: made for one command, which holds the lock as long as the lab exists.
    token_used: a command got the bootstrap token and may have spent it. definition: the text of a scenario
    file.
    """

    scenario: str
    kind: Kind
    places: Places
    parts: Parts
    ephemeral: bool = False
    token_used: bool = False
    definition: str = ""


def save(names: LabNames, state: State) -> None:
    """Write the record atomically."""
    draft = names.directory / f"{RECORD}.new"
    draft.write_text(json.dumps(asdict(state), indent=2), encoding="utf-8")
    draft.replace(names.directory / RECORD)


def load(names: LabNames) -> State | None:
    """The record of a lab; None if there is no lab, or one that was never finished."""
    try:
        data = json.loads((names.directory / RECORD).read_text(encoding="utf-8"))
        places = Places(**{**data["places"], "peers": tuple(data["places"]["peers"])})
        parts = Parts(**{key: tuple(value) for key, value in data["parts"].items()})
        # A newer version may record more; if we rejected its record, its lab would be removed as a wreck.
        known = {key: value for key, value in data.items() if key in State.__dataclass_fields__}
        return State(**{**known, "places": places, "parts": parts})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def hand_out_token(names: LabNames, state: State) -> State:
    """Remember that the bootstrap token may be spent from now on."""
    used = replace(state, token_used=True)
    save(names, used)
    return used


def known_labs(root: Path) -> list[str]:
    """Names of all labs that exist, even in part."""
    try:
        return sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    except FileNotFoundError:
        return []


@contextmanager
def locked(names: LabNames, *, wait_s: float = 30.0) -> Iterator[None]:
    """Lock a lab; create its directory if it is missing, and remove it if it is left empty.

    Raises LabError if another command holds it for longer than `wait_s`.
    """
    deadline = time.monotonic() + wait_s
    handle = None
    try:
        while handle is None:
            # An interruption between creating and locking the directory would leave it behind.
            with uninterrupted():
                handle = _try_lock(names)
            if handle is None and time.monotonic() >= deadline:
                raise LabError(f"the lab {names.lab} is in use by another preflight command; wait for it to end")
            if handle is None:
                time.sleep(_LOOK_AGAIN_S)
        yield
    finally:
        if handle is not None:
            _release(names, handle)


def _release(names: LabNames, handle: int) -> None:
    try:
        names.directory.rmdir()
    except OSError:
        pass  # not empty: the lab stays
    os.close(handle)


def _try_lock(names: LabNames) -> int | None:
    private_directory(names.root)
    names.directory.mkdir(mode=0o700, exist_ok=True)
    try:
        handle = os.open(names.directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None  # the last holder removed it; the next attempt makes a new one
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino == names.directory.stat().st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None
