"""What tests of observers share."""

import subprocess
from collections.abc import Callable

import pytest


@pytest.fixture
def set_sysctl() -> Callable[[str], None]:
    """Set `name=value` in the namespace that this thread is in."""

    def change(setting: str) -> None:
        subprocess.run(["sysctl", "-qw", setting], check=True)

    return change
