"""host.rp-filter: a strict filter is reported where it drops what a peer sent."""

from dataclasses import replace

import pytest
from preflight_checks import host_rp_filter
from preflight_checks.host_rp_filter import Probed

from preflight.api import Status
from preflight.model.kernel import ReversePathFilter


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


def test_the_filter_s_remedy_loosens_only_what_drops() -> None:
    """The kernel takes the larger of `all` and the interface's own value, so no other interface loses its filter."""
    probed = Probed(ReversePathFilter({"wg0": 1, "eth0": 0}, 0), ReversePathFilter({}, 3), ("b",))
    assert host_rp_filter.judge(probed).remedies[0].lines == ("sysctl -w net.ipv4.conf.wg0.rp_filter=2",)
    both = replace(probed, before=ReversePathFilter({"wg0": 1, "eth0": 1}, 0))
    assert host_rp_filter.judge(both, "wg0").remedies[0].lines == ("sysctl -w net.ipv4.conf.wg0.rp_filter=2",)
    assert "eth0" in host_rp_filter.judge(both, "wg1").remedies[0].lines[0]
    uplink = replace(both, before=ReversePathFilter({"lo": 1, "wg0": 1, "eth0": 1}, 0), passes=frozenset({"wg0"}))
    assert host_rp_filter.judge(uplink, "wg0").remedies[0].lines == ("sysctl -w net.ipv4.conf.eth0.rp_filter=2",)


def test_a_dot_in_a_name_is_a_slash_for_sysctl() -> None:
    """The line to paste works for VLANs too."""
    probed = Probed(ReversePathFilter({"eth0.7": 1}, 0), ReversePathFilter({}, 3), ("b",))
    assert host_rp_filter.judge(probed).remedies[0].lines[0].endswith(" net.ipv4.conf.eth0/7.rp_filter=2")
