"""How we start programs: never one that merely lies in the current folder.

Whoever runs us, often root, may stand in a folder that somebody else writes to.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian keeps `ip`, `nft` and the like; the PATH of a plain user lacks them."""


def search_path(environ: Mapping[str, str] = os.environ) -> str:
    """PATH without its empty and relative entries, which mean the current folder, and with the system's own folders."""
    folders = (*environ.get("PATH", os.defpath).split(os.pathsep), *_SYSTEM_FOLDERS)
    return os.pathsep.join(dict.fromkeys(folder for folder in folders if Path(folder).is_absolute()))


def find(name: str) -> str | None:
    """The absolute path of a program; None if this machine lacks it."""
    return shutil.which(name, path=search_path())


def python_module(module: str, *words: str) -> list[str]:
    """The words that run one of our modules in a Python of its own.

    `-P` keeps the current folder, which `-m` would search first, out of that Python's import path. `-I` would as well,
    but it also drops PYTHONPATH and the user's site-packages, and one of them may hold this program or a plug-in.
    """
    return [sys.executable, "-P", "-m", module, *words]
