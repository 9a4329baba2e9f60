"""host.*: a node's own state, without false alarms."""

import pytest
from preflight_checks import host_clock, host_rp_filter, host_sockets
from preflight_checks.host_rp_filter import Probed

from preflight.api import Status
from preflight.model.kernel import ClockState, ReversePathFilter
from preflight.proto.control.clock import Offset

UNSYNCED = ClockState(False, 16000.0)


@pytest.mark.parametrize(
    ("raw", "ping", "status"),
    [(True, True, Status.PASS), (True, False, Status.PASS), (False, True, Status.PASS), (False, False, Status.WARN)],
)
def test_either_kind_of_socket_will_do(raw: bool, ping: bool, status: Status) -> None:
    """Echoes go out by a raw or by a ping socket; only without both is there something to say."""
    assert host_sockets.judge(raw=raw, ping=ping).status is status


AGREES, OFF = Offset(-0.01, 0.01), Offset(-602.0, -600.0)


@pytest.mark.parametrize(
    ("state", "others", "asked", "status"),
    [
        (ClockState(True, 3.0), {}, False, Status.PASS),
        (UNSYNCED, {"b": AGREES}, True, Status.PASS),
        (UNSYNCED, {"b": Offset(1.9, 3.9)}, True, Status.PASS),
        (UNSYNCED, {"b": Offset(2.1, 4.1)}, True, Status.WARN),
        (UNSYNCED, {"the control plane": OFF}, True, Status.WARN),
        # One clock that agrees is enough: then the other one is wrong, and that is not this node's fault.
        (UNSYNCED, {"the control plane": OFF, "b": AGREES}, True, Status.PASS),
        (UNSYNCED, {}, True, Status.INCONCLUSIVE),
        (UNSYNCED, {}, False, Status.WARN),
    ],
)
def test_the_clock(state: ClockState, others: dict[str, Offset], asked: bool, status: Status) -> None:
    """A clock that nothing synchronises is told only when no other clock confirms it within 2 s."""
    assert host_clock.judge(state, others, asked=asked).status is status


def test_a_clock_that_is_off_says_which_way() -> None:
    """The control plane 600 s behind means that this node is ahead."""
    assert "ahead of the clock of b" in host_clock.judge(UNSYNCED, {"b": OFF}, asked=True).message


@pytest.mark.parametrize(
    ("before", "after", "silent", "status"),
    [
        (ReversePathFilter({"eth0": 0, "wg0": 2}, 7), ReversePathFilter({}, 90), (), Status.PASS),
        (ReversePathFilter({"wg0": 1}, 7), ReversePathFilter({"wg0": 1}, 7), ("b",), Status.PASS),
        (ReversePathFilter({"wg0": 1}, 7), ReversePathFilter({"wg0": 1}, 10), (), Status.PASS),
        (ReversePathFilter({"wg0": 1}, None), ReversePathFilter({"wg0": 1}, None), ("b",), Status.PASS),
        (ReversePathFilter({"wg0": 1}, 7), ReversePathFilter({"wg0": 1}, 10), ("b",), Status.FAIL),
    ],
)
def test_a_strict_filter_is_a_fault_only_when_it_drops_what_a_peer_sent(
    before: ReversePathFilter, after: ReversePathFilter, silent: tuple[str, ...], status: Status
) -> None:
    """Strict is the default of whole distributions; drops of other traffic are its job."""
    assert host_rp_filter.judge(Probed(before, after, silent)).status is status


def test_the_filter_s_remedy_loosens_the_interfaces_that_are_strict() -> None:
    """`all` counts too: the kernel takes the larger of the two."""
    probed = Probed(ReversePathFilter({"wg0": 1, "eth0": 0}, 0), ReversePathFilter({}, 3), ("b",))
    assert (
        host_rp_filter.judge(probed).remedy == "sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.wg0.rp_filter=2"
    )


def test_a_dot_in_a_name_is_a_slash_for_sysctl() -> None:
    """The line to paste works for VLANs too."""
    probed = Probed(ReversePathFilter({"eth0.7": 1}, 0), ReversePathFilter({}, 3), ("b",))
    assert (host_rp_filter.judge(probed).remedy or "").endswith(" net.ipv4.conf.eth0/7.rp_filter=2")
