"""A control host with an address that nobody has any more."""

import pytest

from preflight.model.tcp import Connection, ConnectOutcome
from preflight.proto.control.half_dead import half_dead

GOOD, GOOD6, OLD, OLD6 = "10.66.0.3", "fd66::3", "10.66.0.9", "fd66::9"


def tried(outcomes: dict[str, ConnectOutcome]) -> list[Connection]:
    return [Connection(address, 9847, outcome, 1.0, "a word", None) for address, outcome in outcomes.items()]


@pytest.mark.parametrize(
    ("outcomes", "code", "dead", "says"),
    [
        ({GOOD: "open"}, None, "", ""),
        ({GOOD: "refused", OLD: "timeout"}, None, "", ""),
        ({GOOD: "open", OLD: "timeout"}, "control.dead-address", OLD, "must wait for it to time out"),
        ({OLD: "refused", GOOD: "open"}, "control.dead-address", OLD, "fails, or loses time"),
        ({GOOD: "open", OLD6: "timeout"}, "control.address-family", OLD6, "by IPv4 and not by IPv6"),
        ({GOOD: "open", OLD: "timeout", GOOD6: "timeout"}, "control.address-family", GOOD6, "not by IPv6"),
        ({GOOD: "open", GOOD6: "open", OLD6: "timeout"}, "control.dead-address", OLD6, f"not at {OLD6}"),
    ],
)
def test_what_accepts_no_connections(
    outcomes: dict[str, ConnectOutcome], code: str | None, dead: str, says: str
) -> None:
    """A whole family says more than one address; where all or none accept, this is not the finding."""
    found = half_dead("control.example", tried(outcomes), "how they ended", ())
    if code is None:
        assert found is None
        return
    assert found is not None
    assert (str(found.code), found.decided.answered_address) == (code, dead)
    assert says in found.message
    assert found.remedies[0].where == "control host"


def test_a_line_of_the_hosts_file_is_taken_away_here() -> None:
    """Only where all that is dead comes from this node's own file; the rest is the owner's of the name."""
    connections = tried({GOOD: "open", OLD: "timeout"})
    mine = half_dead("control.example", connections, "", (GOOD, OLD))
    others = half_dead("control.example", connections, "", (GOOD,))
    assert mine is not None
    assert others is not None
    assert [(each.kind, each.where) for each in mine.remedies] == [("fix", "node")]
    assert OLD in mine.remedies[0].lines[0]
    assert all(each.fix is None for each in others.remedies)
