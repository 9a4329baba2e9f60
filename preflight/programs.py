"""How we start programs: never one from the current folder.

We often run as root, perhaps in a folder that another user can write to.
"""

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian keeps `ip`, `nft` and the like; the PATH of a plain user lacks them."""

_STARTED = 19
"""The field of /proc/self/stat behind the program's name (proc(5): starttime)."""


def search_path(environ: Mapping[str, str] = os.environ) -> str:
    """PATH without its empty and relative entries, which mean the current folder, and with the system's folders."""
    folders = (*environ.get("PATH", os.defpath).split(os.pathsep), *_SYSTEM_FOLDERS)
    return os.pathsep.join(dict.fromkeys(folder for folder in folders if Path(folder).is_absolute()))


def find(name: str) -> str | None:
    """The absolute path of a program; None if it is not installed."""
    return shutil.which(name, path=search_path())


def own_age_s() -> float:
    """Seconds since this process was started, by a clock of 10 ms; 0 where the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        started_s = int(fields[_STARTED]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started_s)
    except (OSError, AttributeError, IndexError, ValueError):
        return 0.0


def python_file(file: Path, *words: str) -> list[str]:
    """The command line that runs a file of ours with the standard library alone, in a separate Python."""
    return [sys.executable, "-I", "-S", str(file), *words]


def python_folder() -> Path:
    """Where this Python is, and the programs that were installed with it."""
    return Path(sys.executable).parent


def python_module(module: str, *words: str) -> list[str]:
    """The command line that runs one of our modules in a separate Python.

    `-P` keeps the current folder, which `-m` would search first, out of that Python's import path. `-I` would as well,
    but it also drops PYTHONPATH and the user's site-packages, and one of them may hold this program or a plug-in.
    """
    return [sys.executable, "-P", "-m", module, *words]
