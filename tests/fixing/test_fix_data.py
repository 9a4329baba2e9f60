"""A fix as data: what is not exactly a fix of ours is refused."""

import pytest

from preflight.fixing.fix_data import as_data, read_fix
from preflight.model.fix import LinkMtu

MTU = LinkMtu(interface="wg0", mtu_bytes=1312)


def test_a_fix_is_read_back() -> None:
    """Protects the fix on its way through a report and to the watchdog."""
    assert as_data(MTU) == {"id": "link.mtu", "interface": "wg0", "mtu_bytes": 1312}
    assert read_fix(as_data(MTU)) == MTU


@pytest.mark.parametrize(
    "more", [{"mtu_bytes": "1312"}, {"mtu_bytes": 1}, {"interface": "-x"}, {"id": "shell"}, {"command": "reboot"}]
)
def test_what_is_not_exactly_right_is_refused(more: dict[str, object]) -> None:
    """Protects this node from the report of a stranger."""
    with pytest.raises(ValueError, match="not a fix"):
        read_fix(as_data(MTU) | more)
