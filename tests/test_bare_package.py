"""Libraries past their `__init__`: only the parts that are used, and all of it for who asks."""

import subprocess
import sys
from pathlib import Path

import pytest

PARTS_ALONE = """
import sys
from preflight.netlink import AsyncIPRoute, AsyncWireGuard, IPRoute, NetlinkError
from pyroute2 import netlink
sys.exit(' '.join(sorted({'pyroute2.ndb', 'pyroute2.plan9', 'pyroute2.ethtool'} & set(sys.modules))) or 0)
"""
ALL_OF_IT = """
from preflight.netlink import IPRoute
from pyroute2 import NDB
import pyroute2
assert pyroute2.IPRoute is IPRoute and pyroute2.Conntrack and NDB, vars(pyroute2)
try:
    pyroute2.nothing
except AttributeError:
    pass
else:
    raise AssertionError('a name that does not exist')
"""
CODEC_ALONE = """
import sys
from preflight.stun_codec import Message
sys.exit(' '.join(sorted({'dns', 'aioice.ice', 'ifaddr'} & set(sys.modules))) or 0)
"""
MISSING = """
from preflight.bare_package import enter
enter('no_such_library')
try:
    import no_such_library
except ModuleNotFoundError:
    pass
"""
BEHIND_IT = """
import pyroute2
from preflight.netlink import IPRoute
assert pyroute2.IPRoute is IPRoute
"""


def _run(program: str, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stderr


@pytest.mark.parametrize("program", [PARTS_ALONE, CODEC_ALONE])
def test_the_parts_come_without_the_rest(program: str, tmp_path: Path) -> None:
    """What a run needs of netlink loads no database and no file server; the codec of STUN loads no DNS client."""
    assert _run(program, tmp_path) == ""


def test_a_library_that_is_missing_is_missing(tmp_path: Path) -> None:
    """The error is that of the import, where it says which."""
    assert _run(MISSING, tmp_path) == ""


def test_who_asks_for_another_name_gets_it(tmp_path: Path) -> None:
    """A plug-in in the same process finds the whole library behind the door, with the same classes."""
    assert _run(ALL_OF_IT, tmp_path) == ""


def test_a_library_that_is_loaded_already_stays_as_it_is(tmp_path: Path) -> None:
    """The door does not put a second, emptier package in its place."""
    assert _run(BEHIND_IT, tmp_path) == ""
