"""Sweeps as whole processes over real sockets: no answer is lost, and only the dead are named."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest

pytestmark = pytest.mark.lab

SWEEP = [sys.executable, "-m", "preflight.net.icmp"]
USER = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--regid=65534", "--clear-groups"]
FIREWALL = """
table inet lab {
  chain input {
    type filter hook input priority 0;
    ip daddr 127.0.3.0/24 icmp type echo-request drop
    ip daddr 127.0.4.0/24 icmp type echo-request reject with icmp type host-unreachable
    ip6 daddr fd66::3:0/112 icmpv6 type echo-request drop
    ip6 daddr fd66::4:0/112 icmpv6 type echo-request reject with icmpv6 type addr-unreachable
  }
  chain output {
    type filter hook output priority 0;
    ip daddr 127.0.5.0/24 icmp type echo-request drop
  }
}
"""
SET_UP = "ip link set lo up; ip -6 route add local fd66::/64 dev lo; "


def sweep(addresses: Sequence[str], *options: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """What a sweep on this machine's loopback says of each address; addresses come on standard input."""
    done = subprocess.run([*SWEEP, *options], input="\n".join(addresses), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
    return by_address(done.stdout)


def sweep_apart(addresses: Sequence[str], *options: str, set_up: str = "", user: Sequence[str] = ()) -> str:
    """The same in a namespace with a separate firewall; `user` are words that lower privileges."""
    script = f'{SET_UP}{set_up}nft -f -; exec "$@"'
    command = ["unshare", "--net", "sh", "-c", script, "sh", *user, *SWEEP, *options, *addresses]
    done = subprocess.run(command, input=FIREWALL, capture_output=True, text=True, check=False)
    return done.stdout or done.stderr


def by_address(lines: str) -> dict[str, dict[str, Any]]:
    """The lines of JSON."""
    return {entry["address"]: entry for entry in map(json.loads, lines.splitlines())}


def test_a_thousand_addresses_without_false_loss() -> None:
    """Three echoes each at ten times the default pace: every one is answered, and just once."""
    addresses = [f"127.{1 + n // 250}.1.{1 + n % 250}" for n in range(1000)]
    found = sweep(addresses, "--interval-ms", "0.1", "--timeout-ms", "10000")
    assert list(found) == addresses
    assert {(one["sent"], one["received"], one["duplicates"]) for one in found.values()} == {(3, 3, 0)}


@pytest.mark.parametrize(
    ("prefix", "unreachable"),
    [("127.0.", "host unreachable, says "), ("fd66::", "address unreachable, says ")],
)
@pytest.mark.parametrize("user", [(), tuple(USER)], ids=["raw socket", "ping socket"])
def test_just_the_dead_are_named(prefix: str, unreachable: str, user: tuple[str, ...]) -> None:
    """Three hundred addresses, some of which drop and some of which refuse: by either kind of socket and family."""
    separator = "." if prefix.endswith(".") else ":"
    groups = {kind: [f"{prefix}{kind}{separator}{n}" for n in range(1, 101)] for kind in (1, 3, 4)}
    addresses = [address for trio in zip(*groups.values(), strict=True) for address in trio]
    allow = "sysctl -qw net.ipv4.ping_group_range='0 65534' net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0; "
    options = ("--timeout-ms", "500", "--interval-ms", "0.2")
    found = by_address(sweep_apart(addresses, *options, set_up=allow, user=user))
    assert {(one["sent"], one["received"]) for one in found.values()} == {(3, 3), (3, 0)}
    assert [address for address, one in found.items() if one["received"]] == groups[1]
    assert {found[address]["error"] for address in groups[1] + groups[3]} == {None}
    for address in groups[4]:
        assert found[address]["error"].startswith(unreachable), found[address]


def test_what_this_node_itself_refuses_was_not_sent() -> None:
    """A drop on output is EPERM: no loss of the path, and no reason to hold up the others."""
    found = by_address(sweep_apart(["127.0.5.1", "127.0.1.1"]))
    assert (found["127.0.5.1"]["sent"], found["127.0.5.1"]["error"]) == (0, "Operation not permitted")
    assert found["127.0.1.1"]["received"] == 3


def test_without_privilege_and_for_mistakes_it_says_so() -> None:
    """Neither is a bad network: exit code 2 and a sentence, no traceback."""
    assert sweep_apart(["127.0.1.1"], user=USER).startswith("this process may not send echoes")
    for words in (["--count"], ["--interval-ms", "0"], ["--rate", "5"], ["not-an-address"]):
        done = subprocess.run([*SWEEP, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "usage:" in done.stderr


def test_a_silent_address_is_exit_code_1() -> None:
    """For scripts: 0 says that every request was answered."""
    script = "import sys; from preflight.net.icmp.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = ["unshare", "--net", sys.executable, "-c", script, "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"] == "Network is unreachable"
    assert sweep(["127.0.0.1", "::1"], "--count", "2")["::1"]["received"] == 2
