"""Where this node's OpenVPN client sends, from its process and its configuration file: read only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from preflight.proto.way.openvpn import Remote, config_of, remote_of

PROC: Final = Path("/proc")
_MOST_BYTES: Final = 1_000_000


def openvpn_remote(proc: Path = PROC) -> Remote | None:
    """The remote end of the only OpenVPN client in this network namespace; None if that is not known.

    It needs root: what another user's process has open is that user's.
    """
    found = {remote for process in _processes(proc) if (remote := _remote(process)) is not None}
    return found.pop() if len(found) == 1 else None


def _processes(proc: Path) -> Iterator[Path]:
    own = _namespace(proc / "self")
    for process in proc.glob("[0-9]*"):
        try:
            if (process / "comm").read_text(encoding="utf-8").strip() == "openvpn" and _namespace(process) == own:
                yield process
        except OSError:  # not ours to read, or it has ended
            continue


def _namespace(process: Path) -> str:
    return str((process / "ns" / "net").readlink())


def _remote(process: Path) -> Remote | None:
    try:
        words = (process / "cmdline").read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")
        name = config_of(words)
        if name is None:
            return remote_of(words, "")
        # As the process sees it: its folder, and its own root.
        place = process / "root" / name.lstrip("/") if name.startswith("/") else process / "cwd" / name
        with place.open("rb") as file:
            return remote_of(words, file.read(_MOST_BYTES).decode("utf-8", "replace"))
    except OSError:
        return None
