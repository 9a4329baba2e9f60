"""The text report on the smallest terminal: the last screen alone suffices to act."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from preflight import codes
from preflight.api import (
    Direction,
    Remedies,
    Result,
    by_hand,
    failed,
    heal,
    inconclusive,
    passed,
    skipped,
    warned,
)
from preflight.engine.diagnosis import diagnose
from preflight.engine.placement import place
from preflight.model.fix import LinkMtu
from preflight.model.host_fixes import ResponderStart
from preflight.report import text
from preflight.report.build import build_report
from preflight.report.model import Gate, NodeInfo, Report
from preflight.report.terminal import rows
from preflight.settings.schema import Thresholds

F, RT, L = Direction.FORWARD, Direction.ROUND_TRIP, Direction.LOCAL
SCREEN_ROWS, LAST_ROWS = 24, 12
MTU = heal(
    lambda: LinkMtu(interface="wg0", mtu_bytes=1320), lasting="MTU = 1320 under [Interface] of the tunnel's file"
)


def at(check: str, result: Result) -> Result:
    """A result as the runner stamps it."""
    return replace(result, check=check, category=check.partition(".")[0], duration_ms=120.0)


def made(*results: Result) -> Report:
    """The report of these results."""
    return build_report(
        results,
        diagnose(results),
        placement=place(results, Thresholds()),
        node=NodeInfo(hostname="node-a", os="Debian", kernel="6.1", python="3.11"),
        overlay=None,
        started_at=datetime(2026, 11, 28, tzinfo=UTC),
        duration_ms=5200,
        gate=Gate(),
    )


GOOD = [
    *(at(f"host.check{n}", passed("node", L, "good")) for n in range(3)),
    *(at(f"overlay.check{n}", passed("node", L, "good")) for n in range(4)),
    at("reach.icmp", passed("b", RT, "4 of 4 echoes answered")),
]
AWAY = [at(f"control.check{n}", skipped(codes.RUN_NOT_APPLICABLE, "control", L, "no URL")) for n in range(20)]


def hole(remedies: Remedies = MTU, message: str = "packets above 1312 bytes vanish") -> Result:
    """A failure with what heals."""
    return at("mtu.path", failed(codes.MTU_BLACK_HOLE, "b", F, message, remedies=remedies))


def without_responder(peer: str, address: str) -> list[Result]:
    """What two checks say of a peer where nothing of ours runs."""
    start = heal(lambda: ResponderStart(address=address, allow="10.66.0.1"), where="peer", host=peer)
    return [
        at(
            check,
            inconclusive(
                codes.RUN_NEEDS_RESPONDER, peer, RT, f"nobody listens at {peer} on UDP port 862", remedies=start
            ),
        )
        for check in ("reach.udp", "udp.quality")
    ]


@pytest.mark.parametrize(
    "bad",
    [
        [hole()],
        [hole(by_hand("nft insert rule inet guard output position 2 oifname wg0 " + "x" * 90))],
        [hole(message="a long sentence about what was seen " * 12)],
        [hole(by_hand(*(f"command {n}" for n in range(20))))],
        [hole(by_hand("Ask the owner of the router to let the packets pass that this tunnel sends. " * 4))],
        [hole(), *(at("udp.quality", warned(codes.UDP_JITTER, f"p{n}", F, "41 ms")) for n in range(6))],
    ],
    ids=["one", "a long command", "a long message", "many lines", "a long sentence", "several causes"],
)
@pytest.mark.parametrize("width", [80, 160])
def test_the_last_rows_suffice_to_act(bad: Sequence[Result], width: int) -> None:
    """Cause, place, remedy, exit code and how to see more are in the last 12 rows, whatever the report holds."""
    report = made(*GOOD, *AWAY, *bad)
    lines = text.render(report, width=width).splitlines()
    assert lines[2].endswith("mtu.black-hole  b  this node → peer"), "it stands first, too"
    last = lines[-next(n for n in range(1, 40) if not lines[-n]) + 1 :]
    assert rows(last, width) <= LAST_ROWS
    ending = "\n".join(last)
    assert "mtu.black-hole  b  this node → peer" in ending
    assert "    fix: " in ending
    assert "more: preflight explain mtu.black-hole, and -v" in ending
    assert "exit code 1" in last[-1]


def test_the_second_cause_has_its_remedy_where_there_is_room() -> None:
    """Two short causes are both acted on from the last screen; a long command of the second is left above."""

    def ending(line: str) -> str:
        second = failed(codes.POSTURE_OPEN, "control", Direction.LOCAL, "anybody may", remedies=by_hand(line))
        lines = text.render(made(*GOOD, *AWAY, hole(), at("posture.exposed", second))).splitlines()
        return "\n".join(lines[-LAST_ROWS:])

    assert "    fix: set a token" in ending("set a token")
    assert "set a token" not in ending("set a token " * 60)


def test_a_command_stands_whole_and_its_comment_apart() -> None:
    """Protects a reader who pastes: no line of a command is wrapped, and what follows it is a comment."""
    lines = text.render(made(*GOOD, hole()), width=60).splitlines()
    place = lines.index("    fix: ip link set dev wg0 mtu 1320")
    assert lines[place + 1].startswith("         # to persist: MTU = 1320")
    assert "    fix: sudo ip link set dev wg0 mtu 1320" in text.render(made(*GOOD, hole()), width=60, sudo=True)


def test_the_first_contact_is_one_screen() -> None:
    """Nothing of ours at the peers: what is good, once what cannot be known, and the lines that close the gap."""
    report = made(*GOOD, *AWAY, *without_responder("b", "10.66.0.2"), *without_responder("c", "10.66.0.3"))
    rendered = text.render(report)
    lines = rendered.splitlines()
    assert rows(lines, 80) <= SCREEN_ROWS
    assert "what was measured, and is good" in lines
    assert rendered.count("run.needs-responder") == 2, "the cause, and its page"
    assert "? run.needs-responder  2 peers: b, c" in lines
    assert "    fix: preflight responder --bind 10.66.0.2 --allow 10.66.0.1   # on b" in lines
    assert "         preflight responder --bind 10.66.0.3 --allow 10.66.0.1   # on c" in lines
    assert "    not known without it: reach.udp, udp.quality" in lines
    assert lines[-1].startswith("INCONCLUSIVE")
    assert lines[-1].endswith("exit code 3")


@pytest.mark.parametrize("more", [(), ("--via", "ssh"), ("--lab", "pair")])
def test_the_first_contact_offers_ssh_first(more: tuple[str, ...]) -> None:
    """The line that closes the gap needs nothing installed; it is not offered where it was tried or cannot work."""
    report = made(*GOOD, *without_responder("b", "10.66.0.2"))
    command = ("preflight", "all", "--peer", "10.66.0.2=b", *more)
    report = report.model_copy(update={"run": report.run.model_copy(update={"command": command})})
    rendered = text.render(report)
    offered = "    next: preflight all --peer 10.66.0.2=b --via ssh   # by your own ssh\n    fix: preflight"
    assert (offered in rendered) is not bool(more)


def test_a_missing_privilege_is_said_once() -> None:
    """Protects an ordinary user from the same sentence for every peer and check."""
    missing = [
        at(check, inconclusive(codes.RUN_NEEDS_PRIVILEGE, peer, RT, f"{check} of {peer} may not be done"))
        for check in ("reach.icmp", "overlay.session")
        for peer in ("b", "c", "d")
    ]
    report = made(*GOOD[:7], *missing)
    report = report.model_copy(
        update={"run": report.run.model_copy(update={"command": ("preflight", "all", "--peer", "b c")})}
    )
    rendered = text.render(report, sudo=True)
    assert rendered.count("run.needs-privilege") == 2, "the cause, and its page"
    assert "\n    fix: sudo \"$(command -v preflight)\" all --peer 'b c'\n" in rendered
    assert "not known without it: " in rendered


def test_each_class_of_work_has_one_line() -> None:
    """The reason is cut for a narrow terminal; -v has the whole."""
    lines = text.render(made(*GOOD)).splitlines()
    start = lines.index("what belongs on this path") + 1
    assert [line.split("  ")[0].strip() for line in lines[start : start + 4]] == [
        "agent task",
        "GPU inference",
        "long GPU training",
        "distributed collectives out-of-scope the round trip was not measured",
    ]
    assert max(map(len, lines)) <= 80


def test_a_summary_has_failures_only() -> None:
    """`--summary`: nothing that passed, was skipped or is advice."""
    rendered = text.render(made(*GOOD, *AWAY, hole()), summary=True)
    assert "mtu ✗ path → b mtu.black-hole (cause 1)" in rendered
    for left_out in ("passed:", "does not apply", "do not apply", "belongs"):
        assert left_out not in rendered


def test_durations_are_listed_slowest_first() -> None:
    """`--durations`: where the time went."""
    report = made(*GOOD, replace(hole(), duration_ms=2500.0))
    lines = text.render(report, durations=True).splitlines()
    assert lines[lines.index("slowest checks") + 1] == "   2.50 s  mtu.path"


def test_one_is_no_plural() -> None:
    """Counts agree with their words."""
    rendered = text.render(made(*GOOD, hole(), at("mtu.tcp", failed(codes.MTU_BLACK_HOLE, "b", F, "the same"))))
    assert "1 more results" not in rendered
