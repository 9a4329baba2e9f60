"""What every test may rely on."""

import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from tests.programs import Machine, needed_by

# No example fails because the machine is busy.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MACHINE = pytest.StashKey[Machine]()


def pytest_configure(config: pytest.Config) -> None:
    """Look once which programs this machine has."""
    folder = tempfile.TemporaryDirectory(prefix="preflight-programs-")
    config.add_cleanup(folder.cleanup)
    config.stash[_MACHINE] = Machine(Path(folder.name))


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> list[str]:
    """`--collect-only` also prints what the tests need; bin/test reads it."""
    if not config.getoption("collectonly"):
        return []
    return [f"needs: {' '.join(sorted(set().union(*map(needed_by, items))))}"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadgroup`, keep the tests of a group on one worker."""
    if config.getoption("dist") != "loadgroup":
        return None
    from tests.grouping import Grouped  # here: pytest also runs where xdist is not loaded

    return Grouped(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test and its fixtures find only the programs that it declares."""
    before = os.environ["PATH"]
    os.environ["PATH"] = item.config.stash[_MACHINE].path_with(needed_by(item))
    try:
        return (yield)
    finally:
        os.environ["PATH"] = before


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Commands called in this process install handlers; none may meet the signals of the next test.

    Ctrl-C and hang-up are as they are in the foreground: what a shell or `nohup` starts has them ignored.
    """
    before = {number: signal.getsignal(number) for number in _ENDING}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs write down goes to a folder of the test, never to a folder of the user who runs the tests."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / f"state-{uuid4()}"))
