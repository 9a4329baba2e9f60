"""The running tunnel against its file: which differences count, and what is left alone."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from checks.overlay_config import judge
from preflight.api import Status
from preflight.model.overlay import PRIVILEGE, ConfiguredPeer, ConfiguredTunnel, OverlayPeer, OverlayState

B_KEY, C_KEY = "B" * 43 + "=", "C" * 43 + "="
NETWORK = ip_network("10.66.0.2/32")
FILE = ConfiguredTunnel(
    path="/etc/wireguard/wg0.conf",
    mtu=1420,
    listen_port=51820,
    addresses=(ip_interface("10.66.0.1/24"),),
    public_key="OWN",
    peers=(ConfiguredPeer(B_KEY, (NETWORK,), 25),),
)
LIVE = OverlayState(
    product="wireguard",
    interface="wg0",
    up=True,
    mtu=1420,
    addresses=(ip_interface("10.66.0.1/24"),),
    listen_port=51820,
    public_key="OWN",
    peers=(OverlayPeer(B_KEY, endpoint="192.0.2.1:51820", addresses=(NETWORK,), keepalive_s=25),),
    configured=FILE,
)


def test_a_tunnel_that_is_as_its_file_says_passes() -> None:
    """An endpoint that roamed does not count as a difference."""
    assert judge(LIVE).status is Status.PASS


@pytest.mark.parametrize(
    ("live", "file", "said"),
    [
        ({"mtu": 1320}, {}, "MTU is 1320, 1420 in the file"),
        ({"listen_port": 40000}, {}, "the port is 40000, 51820 in the file"),
        ({"public_key": "OTHER"}, {}, "this node's public key is OTHER…, OWN… in the file"),
        ({"addresses": ()}, {}, "addresses in the file are missing on the interface: 10.66.0.1/24"),
        ({"peers": ()}, {}, "peer BBBBBBBB… is only in the file"),
        ({}, {"peers": ()}, "peer BBBBBBBB… is not in the file"),
        ({}, {"peers": (ConfiguredPeer(B_KEY, (), 25),)}, "has allowed-ips 10.66.0.2/32, none in the file"),
        ({}, {"peers": (ConfiguredPeer(B_KEY, (NETWORK,), 0),)}, "has keepalive 25, off in the file"),
    ],
)
def test_each_difference_is_named(live: dict[str, object], file: dict[str, object], said: str) -> None:
    """What a restart would change is known before the restart."""
    result = judge(replace(LIVE, configured=replace(FILE, **file), **live))  # type: ignore[arg-type]
    assert (result.status, str(result.code)) == (Status.WARN, "overlay.config-drift")
    assert said in result.message
    assert result.measurements["differences"] == 1
    assert result.remedy is not None
    assert result.remedy.startswith('bash -c "wg syncconf wg0')


def test_a_network_that_two_peers_claim_goes_to_the_last() -> None:
    """As WireGuard does it: the file agrees with that, and is wrong itself."""
    file = replace(FILE, peers=(*FILE.peers, ConfiguredPeer(C_KEY, (NETWORK,), 0)))
    first = replace(LIVE.peers[0], addresses=())
    live = replace(LIVE, peers=(first, OverlayPeer(C_KEY, addresses=(NETWORK,), keepalive_s=0)), configured=file)
    result = judge(live)
    assert (result.status, str(result.code)) == (Status.WARN, "overlay.allowed-ips")
    assert f"{NETWORK} to the peers BBBBBBBB… and CCCCCCCC…" in result.message


def test_a_full_tunnel_keeps_its_mark() -> None:
    """`wg syncconf` takes away the mark that wg-quick has set, and the tunnel would carry its own packets."""
    result = judge(replace(LIVE, fwmark=51820, configured=replace(FILE, listen_port=4)))
    assert "<(wg-quick strip wg0) && wg set wg0 fwmark 51820" in str(result.remedy)


def test_the_mtu_needs_a_line_of_its_own() -> None:
    """`wg syncconf` sets no MTU: with it alone the difference would stay."""
    remedy = judge(replace(LIVE, mtu=1320)).remedy
    assert remedy is not None
    assert "ip link set dev wg0 mtu 1420" in remedy
    assert "ip link" not in (judge(replace(LIVE, listen_port=40000)).remedy or "")


def test_many_differences_are_counted_and_all_are_evidence() -> None:
    """The message stays readable; nothing is lost."""
    peers = tuple(ConfiguredPeer(f"{n}" * 43 + "=") for n in range(9))
    result = judge(replace(LIVE, configured=replace(FILE, peers=peers)))
    assert result.message.endswith(", and 6 more")
    assert len(result.evidence[0].data) == 10


@pytest.mark.parametrize(
    "state",
    [
        None,
        replace(LIVE, configured=None),
        replace(LIVE, product="zerotier", unreadable=PRIVILEGE, peers=()),
        replace(LIVE, mtu=1320, configured=replace(FILE, saves=True)),
    ],
    ids=["no overlay", "no file", "another product", "SaveConfig"],
)
def test_where_there_is_nothing_to_compare_it_skips(state: OverlayState | None) -> None:
    """Without both sides a difference would be invented."""
    assert judge(state).status is Status.SKIP


@pytest.mark.parametrize("file", [FILE, None], ids=["file", "no file"])
def test_a_tunnel_that_may_not_be_read_is_undecided(file: ConfiguredTunnel | None) -> None:
    """Whether it drifted is not known: that does not pass, and the code says what is missing."""
    result = judge(replace(LIVE, unreadable=PRIVILEGE, peers=(), configured=file))
    assert (result.status, str(result.code)) == (Status.INCONCLUSIVE, "run.needs-privilege")


@pytest.mark.parametrize(
    ("mtu", "port", "lost", "differences", "by_mtu"),
    [
        (1200, 51820, "fd66::1/64", 2, 2),
        (1200, 40000, "fd66::1/64", 3, 2),
        (1300, 51820, "fd66::1/64", 2, 1),
        (1200, 51820, "10.77.0.1/24", 2, 1),
    ],
    ids=["all of it", "the port too", "large enough for IPv6", "IPv4"],
)
def test_what_an_mtu_accounts_for(mtu: int, port: int, lost: str, differences: int, by_mtu: int) -> None:
    """Linux takes IPv6 off a device below 1280; what else differs stays a finding."""
    file = replace(FILE, addresses=(*FILE.addresses, ip_interface(lost)))
    result = judge(replace(LIVE, configured=file, mtu=mtu, listen_port=port))
    assert (result.measurements["differences"], result.measurements["by_mtu"]) == (differences, by_mtu)
