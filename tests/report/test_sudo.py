"""`sudo` before what needs root, where the reader is not root."""

import pytest

from preflight.api import Remedies, by_hand, heal, look
from preflight.model.fix import LinkMtu
from preflight.report.sudo import with_sudo


@pytest.mark.parametrize(
    ("remedies", "line"),
    [
        (heal(lambda: LinkMtu(interface="wg0", mtu_bytes=1320)), "sudo ip link set dev wg0 mtu 1320"),
        (
            heal(lambda: LinkMtu(interface="wg0", mtu_bytes=1320), where="peer", host="b"),
            "ip link set dev wg0 mtu 1320   # on b",
        ),
        (look("nft list ruleset | grep drop   # here", root=True), "sudo nft list ruleset | grep drop   # here"),
        (look("ip rule; ip route", root=True), "sudo sh -c 'ip rule; ip route'"),
        (look("ip route get 10.66.0.2"), "ip route get 10.66.0.2"),
        (by_hand("Plug in the cable.", root=True), "Plug in the cable."),
        (by_hand("sudo wg show", root=True), "sudo wg show"),
        (by_hand("ip link set $(a; b) up", root=True), "sudo ip link set $(a; b) up"),
        (by_hand("preflight clean", root=True), 'sudo "$(command -v preflight)" clean'),
        (by_hand("echo 'x", root=True), "sudo sh -c 'echo '\"'\"'x'"),
    ],
)
def test_a_command_reaches_root(remedies: Remedies, line: str) -> None:
    """Protects a reader who pastes: the whole line runs as root, and what runs elsewhere or is a sentence stays."""
    (remedy,) = remedies
    assert with_sudo(remedy).shown == (line,)
