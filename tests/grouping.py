"""Which tests share a worker: those of the files that mark all their tests with one `xdist_group`.

They share what takes long to make, such as a wheel or a server under attack. pytest-xdist 3.8 writes the group into the
node id, where pytest 9.2 does not look for it: without this, each worker makes its own.
"""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
_GROUP = re.compile(r'^pytestmark = .*\bxdist_group\("([^"]+)"\)', re.MULTILINE)


@cache
def group_of(file: str) -> str | None:
    """The group of a file's tests; None if it has none."""
    found = _GROUP.search((ROOT / file).read_text(encoding="utf-8"))
    return found[1] if found else None


class Grouped(LoadGroupScheduling):  # type: ignore[misc]
    """Sends the tests of a group to one worker, and each other test to any."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0]) or nodeid
