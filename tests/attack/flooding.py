"""What the attacks on a responder share: numbered packets, floods, and how it is started."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.responder.conftest import (
    Start,
    starting,
)

GOOD_SSID = 99


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts responders on loopback addresses."""
    with starting(tmp_path) as run:
        yield run
