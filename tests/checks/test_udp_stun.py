"""udp.stun: what servers prove, and what their silence does not."""

import pytest
from preflight_checks.udp_stun import Outside, judge

from preflight.api import Status
from preflight.model.stun import Silence, StunAnswer

LOCAL = "10.0.0.5:4000"
OWN = frozenset({"10.0.0.5", "127.0.0.1"})


def seen(address: str, mapped: str) -> StunAnswer:
    """A server that answered."""
    return StunAnswer(f"{address}:3478", address, local=LOCAL, mapped=mapped, rtt_ms=1.5)


def mute(address: str, why: Silence = "silent") -> StunAnswer:
    """A server that did not say."""
    return StunAnswer(f"{address}:3478", address, local=LOCAL, why=why)


ONE, TWO = "192.0.2.1", "192.0.2.2"


@pytest.mark.parametrize(
    ("outside", "status", "code", "words"),
    [
        (None, Status.SKIP, "run.not-applicable", ["no STUN server is set"]),
        (Outside((seen(ONE, LOCAL),), OWN), Status.PASS, None, ["nothing translates its address", LOCAL]),
        (
            Outside((seen(ONE, "203.0.113.5:7"), seen(TWO, "203.0.113.5:7")), OWN),
            Status.PASS,
            None,
            ["through a NAT", "10.0.0.5:4000 as 203.0.113.5:7", "does not depend on the destination"],
        ),
        (
            Outside((seen(ONE, "203.0.113.5:7"), seen(TWO, "203.0.113.5:8")), OWN),
            Status.PASS,
            None,
            ["each destination sees a different mapping"],
        ),
        (
            Outside((seen(ONE, "203.0.113.5:7"), mute(TWO)), OWN),
            Status.PASS,
            None,
            ["1 of 2", "add a second server"],
        ),
        (Outside((seen(ONE, "10.0.0.5:4001"),), OWN), Status.PASS, None, ["through a NAT"]),
        (Outside((mute(ONE), mute(TWO)), OWN, {ONE: True, TWO: True}), Status.FAIL, "udp.blocked", ["filtered"]),
        # Never guess: a server may be off, or only its host's echo be filtered.
        (Outside((mute(ONE),), OWN, {ONE: True}), Status.INCONCLUSIVE, "run.needs-responder", ["silent"]),
        (Outside((mute(ONE), mute(TWO)), OWN, {ONE: True, TWO: False}), Status.INCONCLUSIVE, "run.needs-responder", []),
        (Outside((mute(ONE), mute(ONE)), OWN, {ONE: True}), Status.INCONCLUSIVE, "run.needs-responder", []),
        (
            Outside((mute(ONE), mute(TWO), mute("192.0.2.3", "closed")), OWN, {ONE: True, TWO: True}),
            Status.INCONCLUSIVE,
            "run.needs-responder",
            ["its host says that the port is closed"],
        ),
        (Outside((mute("x", "no-name"),), OWN), Status.INCONCLUSIVE, "run.needs-responder", ["has no address"]),
    ],
)
def test_verdicts(outside: Outside | None, status: Status, code: str | None, words: list[str]) -> None:
    """UDP is called blocked only where several hosts answer, and none of them over UDP."""
    result = judge(outside)
    assert (result.status, str(result.code) if result.code else None) == (status, code)
    assert all(word in result.message for word in words), result.message


def test_measurements() -> None:
    """The mapping and its kind are there for programs that read the report."""
    result = judge(Outside((seen(ONE, "203.0.113.5:7"), seen(TWO, "203.0.113.5:8")), OWN))
    assert result.measurements["mapped"] == ["203.0.113.5:7", "203.0.113.5:8"]
    assert result.measurements["translated"] is True
    assert result.measurements["depends_on_destination"] is True
    assert result.measurements["rtt_min_ms"] == 1.5
