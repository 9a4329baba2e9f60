"""`fix --lab NAME`: rehearse a fix on node a of a lab, which never changes the machine around it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from preflight.cli.in_lab import run_in_lab
from preflight.fixing.names_edit import edited_file
from preflight.lab.names import KIND_VARIABLE, state_root
from preflight.model.fix import (
    ClockSync,
    Fix,
    PeerAddress,
    PrivateFiles,
    ServiceRestart,
    Setting,
    TokenAlone,
    WorkersLine,
)
from preflight.report.healing import RefusedError

_MOUNTS = Path("/proc/self/mountinfo")
_MOUNT_POINT = 4
"""The field of a line of mountinfo (proc(5))."""


def fix_in_lab(name: str, arguments: Sequence[str]) -> int:
    """Run `preflight ARGUMENTS`, a `fix`, on node a with its settings, and return its exit code."""
    return run_in_lab(name, list(arguments), options=("--config",))


def refuse_outside(fixes: Iterable[Fix], environ: Mapping[str, str], mounts: Path = _MOUNTS) -> None:
    """In a lab, raise RefusedError for a fix of what the lab shares with the machine around it."""
    kind = environ.get(KIND_VARIABLE)
    if not kind:
        return
    own = _mount_points(mounts)
    for fix in fixes:
        if not _inside(fix, kind, own):
            raise RefusedError("A lab does not do this, for it would change the machine around it.", fix.lines)


def _inside(fix: Fix, kind: str, own: frozenset[str]) -> bool:
    if (file := edited_file(fix)) is not None:
        return file in own
    if isinstance(fix, Setting | PeerAddress | TokenAlone | WorkersLine | PrivateFiles):
        return all(Path(file).resolve().is_relative_to(state_root()) for file in _files(fix))
    return kind != "loopback" and not isinstance(fix, ClockSync | ServiceRestart)


def _files(fix: Setting | PeerAddress | TokenAlone | WorkersLine | PrivateFiles) -> tuple[str, ...]:
    if isinstance(fix, PrivateFiles):
        return fix.paths
    return (fix.path,) if isinstance(fix, TokenAlone) else (fix.file,)


def _mount_points(mounts: Path) -> frozenset[str]:
    """What is mounted separately: files of /etc that only this node sees."""
    lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    return frozenset(line.split()[_MOUNT_POINT] for line in lines if len(line.split()) > _MOUNT_POINT)
