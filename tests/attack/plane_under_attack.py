"""The control plane that the attacks of one file share, and the parts of raw requests to it."""

from collections.abc import Iterator

import pytest

from tests.attack.plane import Plane, running

NODE = {"id": "a", "capabilities": {}, "version": "1", "last_seen_unix_ms": 0}
HEAD = b"HTTP/1.1\r\nHost: x\r\n"
JSON = b"Content-Type: application/json\r\n"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """One process for all of them: each leaves it as well as it found it."""
    with running(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture(autouse=True)
def still_well(plane: Plane) -> Iterator[None]:
    """Whatever was done, the same process answers afterwards, and no exception is in its log."""
    yield
    plane.well()


NODES = "/v1/populi/nodes"
