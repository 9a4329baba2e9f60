"""The catalogue: what cannot be loaded is a result, not silence."""

from preflight import codes
from preflight.api import Status
from preflight.engine.catalog import OURS, broken_result
from preflight.model.plugins import BrokenPlugin


def test_a_broken_package_of_others_is_a_warning_and_our_own_an_error() -> None:
    """Without its own checks a run cannot be good; a broken package of another author must not fail it."""
    theirs = broken_result(BrokenPlugin("their-checks", "their.module", "no module named x"))
    ours = broken_result(BrokenPlugin(OURS, "mtu_path", "no module named x"))
    assert (theirs.status, theirs.code) == (Status.WARN, codes.RUN_PLUGIN_BROKEN)
    assert (ours.status, ours.code) == (Status.ERROR, codes.RUN_CHECK_ERROR)
    assert theirs.id == "run.plugins/node/local/their.module"
    assert "their.module of their-checks could not be loaded: no module named x" in theirs.message
