"""Who may enter a lab's directories: the ordinary user while a lab has one, and nobody but their owner otherwise."""

import stat
from pathlib import Path

import pytest

from preflight.lab import users
from preflight.lab.blueprint import Blueprint
from preflight.lab.names import LabNames
from preflight.lab.topology import TOPOLOGIES

pytestmark = pytest.mark.lab  # only root gives files away

ORDINARY = Blueprint(TOPOLOGIES["pair"], user="ordinary")


def lab(root: Path, name: str) -> LabNames:
    names = LabNames.of(name, root)
    names.files("a").mkdir(mode=0o700, parents=True)
    (names.files("a") / "token").touch(mode=0o600)
    return names


def access(path: Path) -> tuple[int, str]:
    found = path.stat()
    return found.st_gid, oct(stat.S_IMODE(found.st_mode))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "labs").mkdir(mode=0o700)
    return tmp_path / "labs"


def test_the_last_lab_with_an_ordinary_user_closes_the_directory_of_all(root: Path) -> None:
    """Protects the labs of root: what was opened for one lab does not stay open for good."""
    first, second, third = (lab(root, name) for name in ("first", "second", "third"))
    users.hand_over(ORDINARY, first)
    users.hand_over(ORDINARY, second)
    assert access(root) == (users.GID, "0o710")
    assert access(first.files("a") / "token") == (users.GID, "0o600")

    users.take_back(first)
    assert access(root) == (users.GID, "0o710"), "the second lab's user still needs it"
    assert access(first.directory) == (0, "0o700")
    users.take_back(third)
    assert access(root) == (users.GID, "0o710")
    users.take_back(second)
    assert access(root) == (0, "0o700")


def test_what_a_killed_command_left_open_is_closed(root: Path) -> None:
    """Protects against a lab whose directory somebody removed by hand: the next lab's end repairs the rest."""
    gone, other = lab(root, "gone"), lab(root, "other")
    users.hand_over(ORDINARY, gone)
    (gone.files("a") / "token").unlink()
    gone.files("a").rmdir()
    gone.directory.rmdir()
    users.take_back(other)
    assert access(root) == (0, "0o700")


def test_root_opens_nothing(root: Path) -> None:
    """Protects the usual lab: only a plan with an ordinary user gives anything away."""
    names = lab(root, "usual")
    before = access(root), access(names.directory), access(names.files("a") / "token")
    users.hand_over(Blueprint(TOPOLOGIES["pair"]), names)
    assert (access(root), access(names.directory), access(names.files("a") / "token")) == before
    users.take_back(names)
    assert (access(root), access(names.directory), access(names.files("a") / "token")) == before
