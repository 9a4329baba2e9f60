"""What a path-MTU search found: which of the three findings it is, at most one."""

import pytest

from preflight.model.pmtu import PathMtu, SearchOutcome

MEASURED = {"direction": "forward", "outcome": SearchOutcome.MEASURED, "ceiling_bytes": 1420}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"mtu_bytes": 1420}, "fits"),
        ({"mtu_bytes": 1312, "vanished": (1313,)}, "black_hole"),
        ({"mtu_bytes": 1312, "fragmented": (1313,)}, "fragmented_outside"),
        ({"mtu_bytes": 1312, "vanished": (1313,), "signalled": True}, None),
        # Fragments far above the limit say nothing about the next larger packet.
        ({"mtu_bytes": 1312, "vanished": (1313,), "fragmented": (1400,)}, "black_hole"),
        ({"outcome": SearchOutcome.UNDECIDED, "mtu_bytes": 1312}, None),
        ({"outcome": SearchOutcome.NO_ANSWER}, None),
    ],
)
def test_a_search_has_one_finding(found: dict[str, object], expected: str | None) -> None:
    """A black hole is only what was measured, vanishes, and causes no ICMP error."""
    result = PathMtu(**{**MEASURED, **found})  # type: ignore[arg-type]
    names = ("fits", "black_hole", "fragmented_outside")
    assert [name for name in names if getattr(result, name)] == ([expected] if expected else [])
