"""The kernel's own policies of IPsec, in a namespace with a real one."""

import subprocess
from contextlib import suppress

import pytest

from preflight.net.way.ipsec import read_policies
from tests.net.way.network_namespace import namespaces
from tests.net.way.test_kernel_says import FOUR, TUN, _burst, found_now


@pytest.mark.lab
def test_a_policy_that_blocks_what_is_sent() -> None:
    """It is read, named as the reason by its counter, and gone after the line of the fix."""
    with namespaces(*TUN):
        assert read_policies() == ()
        subprocess.run(
            ["ip", "xfrm", "policy", "add", "dst", "10.66.0.2/32", "dir", "out", "action", "block"], check=True
        )

        def burst() -> None:
            with suppress(OSError):
                _burst("10.66.0.2")

        death = found_now(FOUR, burst)["filter-out"]
        assert "an IPsec policy of this node blocks packets to 10.66.0.2" in death.message
        (remedy,) = death.remedies
        subprocess.run(remedy.lines[0].split(), check=True)
        assert read_policies() == ()


@pytest.mark.lab
def test_both_families_are_read() -> None:
    """One dump has both, and what a policy is limited to."""
    with namespaces():
        for words in ("dst fd66::2/128 proto udp dport 862 dir out", "src 10.66.0.0/24 dir in priority 5"):
            subprocess.run(["ip", "xfrm", "policy", "add", *words.split(), "action", "block"], check=True)
        assert {str(policy) for policy in read_policies()} == {
            "src ::/0 dst fd66::2/128 proto 17 dport 862 dir out",
            "src 10.66.0.0/24 dst 0.0.0.0/0 dir in",
        }
