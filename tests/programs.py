"""The programs that a test may start: those that it declares or the lab needs, and what every Debian has.

requirements/debian.txt is the one table of programs and their packages. `bin/test` installs what the chosen tests
declare. A test that declares too little fails on every machine, because the program is hidden from it.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[1] / "requirements" / "debian.txt"
ALL = {
    program: frozenset(groups)
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
    for program, _, *groups in [line.split()]
}
"""The groups of each program."""
_LAB = {program for program, groups in ALL.items() if groups & {"lab", "products"}}
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
"""Where Debian keeps `ip` and `nft`; the PATH of a plain user lacks them."""


def needed_by(item: pytest.Item) -> set[str]:
    """The programs that a test declares by `needs` and `lab`; UsageError for one that the table lacks."""
    named = {program for marker in item.iter_markers("needs") for program in marker.args}
    if unknown := named - ALL.keys():
        raise pytest.UsageError(f"{item.nodeid} needs {sorted(unknown)}, which {TABLE.name} lacks")
    return named | (_LAB if item.get_closest_marker("lab") else set())


class Machine:
    """This machine's programs as links in `folder`, so that a PATH can hide some of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found = os.pathsep.join(dict.fromkeys((*os.get_exec_path(), *_SYSTEM_FOLDERS)))
        self._bare = [self._without_declared(Path(each)) for each in os.get_exec_path() if Path(each).is_dir()]

    def path_with(self, programs: Iterable[str]) -> str:
        """A PATH on which none but these programs of the table is found."""
        return os.pathsep.join(map(str, (*self._bare, *map(self._alone, sorted(programs)))))

    def _alone(self, program: str) -> Path:
        """A folder with a link to this program, if this machine has it."""
        folder = self._folder / "alone" / program
        if not folder.exists():
            folder.mkdir(parents=True)
            if found := shutil.which(program, path=self._found):
                (folder / program).symlink_to(found)
        return folder

    def _without_declared(self, original: Path) -> Path:
        """That folder of PATH; if it holds programs of the table, a folder of links to its others."""
        if not any((original / program).exists() for program in ALL):
            return original
        folder = self._folder / "bare" / str(original.resolve()).strip("/")
        if not folder.exists():
            folder.mkdir(parents=True)
            for program in original.iterdir():
                if program.name not in ALL:
                    (folder / program.name).symlink_to(program)
        return folder
