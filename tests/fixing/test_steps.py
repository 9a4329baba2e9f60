"""Before a fix is made the program asks what is there: to undo it, and to leave it if the state is another by now."""

import json
from collections.abc import Callable, Mapping

import pytest

from preflight.fixing.step import Ask, FixError, Step
from preflight.fixing.steps import steps
from preflight.model.change import Command, NamedValue
from preflight.model.fix import (
    AddressDelete,
    ClockSync,
    FilterAccept,
    FilterDelete,
    FilterPass,
    Fix,
    FlowForget,
    ForwardingEntry,
    IpsecPolicyDelete,
    IptablesPass,
    KernelSettings,
    LinkAddresses,
    LinkMtu,
    LinkMtuByAddress,
    LinkUp,
    NeighbourDelete,
    NoPresharedKey,
    PolicyRule,
    PrivateFiles,
    QueueDelete,
    RefusalDelete,
    Route,
    RouteAround,
    ServiceRestart,
    WgQuick,
    WgQuickValue,
    WireguardKey,
    WireguardMark,
    WireguardPeer,
    WireguardPort,
)

KEY, OTHER = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
LINK = json.dumps([{"ifname": "wg0", "mtu": 1420, "flags": ["POINTOPOINT"]}])
FORWARDING = """00:00:00:00:00:00 dst 192.0.2.9 self permanent
02:00:00:00:00:99 dst 192.0.2.9 self permanent
02:00:00:00:00:98 dst 192.0.2.9 self
"""
RULES = """table inet filter { # handle 1
	chain input { # handle 2
		type filter hook input priority filter; policy accept;
		iifname "wg0" accept # handle 3
		udp dport 862 drop # handle 7
	}
}"""


def asked(*answers: str) -> Ask:
    """Answers in the order of the questions."""
    rest = iter(answers)
    return lambda question: next(rest)


def undone(made: list[Step], output: str = "") -> list[Command]:
    return [command for step in made if step.unmade for command in step.unmade(output)]


def words(*lines: str) -> list[Command]:
    return [tuple(line.split()) for line in lines]


@pytest.mark.parametrize(
    ("fix", "answers", "undo"),
    [
        (LinkMtu(interface="wg0", mtu_bytes=1312), (LINK,), ["ip link set dev wg0 mtu 1420"]),
        (LinkMtu(interface="wg0", mtu_bytes=1420), (LINK,), None),
        (
            LinkMtuByAddress(address="10.66.0.2", mtu_bytes=1312),
            (json.dumps([{}, {"ifname": "wg0"}]), LINK),
            ["ip link set dev wg0 mtu 1420"],
        ),
        (LinkUp(interface="wg0"), (LINK,), ["ip link set dev wg0 down"]),
        (LinkUp(interface="wg0"), (LINK.replace("POINTOPOINT", "UP"),), None),
        (
            LinkAddresses(interface="wg0", addresses=("10.66.0.1/24", "fd66::1/64")),
            (json.dumps([{"addr_info": [{"local": "fd66::1", "prefixlen": 64}]}]),),
            ["ip address del 10.66.0.1/24 dev wg0"],
        ),
        (
            KernelSettings(settings=(NamedValue("net.ipv4.conf.all.rp_filter", "2"),)),
            ("1\n",),
            ["sysctl -w net.ipv4.conf.all.rp_filter=1"],
        ),
        (KernelSettings(settings=(NamedValue("net.ipv4.conf.all.rp_filter", "2"),)), ("2\n",), None),
        (
            Route(action="add", destination="10.66.0.2/32", interface="wg0"),
            ("",),
            ["ip -4 route del 10.66.0.2/32 dev wg0"],
        ),
        (
            Route(action="replace", destination="10.66.0.2/32", interface="wg0", table=7),
            ("10.66.0.2 via 192.168.0.1 dev eth0 linkdown\n",),
            ["ip -4 route replace 10.66.0.2 via 192.168.0.1 dev eth0 table 7"],
        ),
        (
            Route(action="del", destination="fd66::2/128", interface="eth0"),
            ("fd66::2 dev eth1 metric 1\nfd66::2 dev eth0 metric 1024 expires 12sec pref medium\n",),
            ["ip -6 route add fd66::2 dev eth0 metric 1024 pref medium"],
        ),
        (
            RouteAround(interface="wg0", endpoint="192.0.2.1"),
            ("default dev wg0\ndefault via 10.0.0.1 dev eth0 metric 9\n192.0.2.1 dev wg0\n", "192.0.2.1 dev wg0\n"),
            ["ip -4 route replace 192.0.2.1 dev wg0"],
        ),
        (
            PolicyRule(action="del", family="-4", priority=90, does="prohibit", destination="10.66.0.2/32"),
            ('[{"priority":90,"src":"all","dst":"10.66.0.2","action":"prohibit"}]',),
            ["ip -4 rule add to 10.66.0.2/32 pref 90 prohibit"],
        ),
        (
            PolicyRule(action="del", family="-4", priority=90, does="prohibit", protocol=17, destination_port=51820),
            ('[{"priority":90,"src":"all","ipproto":"udp","dport":51820,"action":"prohibit"}]',),
            ["ip -4 rule add ipproto 17 dport 51820 pref 90 prohibit"],
        ),
        (
            PolicyRule(action="add", family="-4", priority=32766, does="lookup", table=254),
            ("[]",),
            ["ip -4 rule del pref 32766 lookup 254"],
        ),
        (
            PolicyRule(action="add", family="-4", priority=32766, does="lookup", table=254),
            ('[{"priority":32766,"src":"all","table":"main"}]',),
            None,
        ),
        (
            RefusalDelete(kind="blackhole", destination="10.66.0.2/32", table=7),
            ("blackhole 10.66.0.2 metric 9\n",),
            ["ip -4 route add blackhole 10.66.0.2 metric 9 table 7"],
        ),
        (
            AddressDelete(interface="eth0", address="10.66.0.2/32"),
            (json.dumps([{"addr_info": [{"local": "10.66.0.2", "prefixlen": 32}]}]),),
            ["ip address add 10.66.0.2/32 dev eth0"],
        ),
        (
            NeighbourDelete(interface="eth0", address="192.0.2.1"),
            ('[{"dst":"192.0.2.1","lladdr":"02:00:00:00:00:99","state":["PERMANENT"]}]',),
            ["ip neighbour replace 192.0.2.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent"],
        ),
        (
            ForwardingEntry(interface="vx0", hardware="02:00:00:00:00:99", address="192.0.2.1"),
            (FORWARDING,),
            ["bridge fdb replace 02:00:00:00:00:99 dst 192.0.2.9 self permanent dev vx0"],
        ),
        (
            ForwardingEntry(interface="vx0", hardware="02:00:00:00:00:98", address="192.0.2.1"),
            (FORWARDING,),
            ["bridge fdb del 02:00:00:00:00:98 dst 192.0.2.1 self dev vx0"],
        ),
        (
            WireguardPeer(interface="wg0", key=KEY, keepalive_s=25),
            (f"{KEY}\t10.66.0.2/32\n", f"{KEY}\toff\n"),
            [f"wg set wg0 peer {KEY} persistent-keepalive off"],
        ),
        (
            WireguardPeer(interface="wg0", key=KEY, allowed_ips=("10.66.0.9/32", "10.66.0.2/32")),
            (f"{KEY}\t10.66.0.9/32\n{OTHER}\t10.66.0.3/32 fd66::/64\n",),
            [f"wg set wg0 peer {KEY} allowed-ips 10.66.0.9/32"],
        ),
        (
            WireguardPeer(interface="wg0", key=KEY, endpoint="192.0.2.1:51820"),
            (f"{KEY}\t(none)\n", f"{KEY}\t192.0.2.9:5\n"),
            [f"wg set wg0 peer {KEY} endpoint 192.0.2.9:5"],
        ),
        (
            WireguardPeer(interface="wg0", key=KEY, allowed_ips=("10.66.0.9/32", "10.66.0.2/32"), taken_from=OTHER),
            (f"{KEY}\t10.66.0.9/32\n{OTHER}\t10.66.0.2/32\n",),
            [f"wg set wg0 peer {KEY} allowed-ips 10.66.0.9/32", f"wg set wg0 peer {OTHER} allowed-ips 10.66.0.2/32"],
        ),
        (
            WireguardKey(interface="wg0", key=KEY, allowed_ips=("10.66.0.2/32",)),
            (f"{OTHER}\t10.66.0.3/32\n",),
            [f"wg set wg0 peer {KEY} remove"],
        ),
        (WireguardPort(interface="wg0", port=51821), ("51820\n",), ["wg set wg0 listen-port 51820"]),
        (WireguardPort(interface="wg0", port=51821), ("51821\n",), None),
        (WireguardMark(interface="wg0", mark=51820), ("off\n",), ["wg set wg0 fwmark off"]),
        (WireguardMark(interface="wg0", mark=51820), ("0xca6c\n",), None),
        (WgQuickValue(interface="wg0", setting="MTU", value="1420"), ("3\n", "1420\n"), None),
        (WgQuick(interface="wg0"), (), ["wg-quick down wg0"]),
        (ClockSync(), ("no\n",), ["timedatectl set-ntp false"]),
        (ClockSync(), ("yes\n",), None),
        (PrivateFiles(paths=("/a", "/b")), ("644\n", "640\n"), ["chmod 644 /a", "chmod 640 /b"]),
    ],
)  # fmt: skip
def test_what_was_there_comes_back(fix: Fix, answers: tuple[str, ...], undo: list[str] | None) -> None:
    """Protects the way back: the old value is read first. None: all is as it should be, and nothing is done."""
    made = steps(fix, asked(*answers))
    assert undone(made) == words(*(undo or ()))
    assert bool(made) is (undo is not None)


def test_a_tunnel_without_a_socket_is_not_put_back() -> None:
    """Protects the word undone: with port 0 it has none, and set again it would get any that is free."""
    (step,) = steps(WireguardPort(interface="wg0", port=51821), asked("0\n"))
    assert step.unmade is None


def test_a_value_of_a_file_comes_back() -> None:
    """By its line alone: nothing else of a file that holds a private key is read or kept."""
    fix = WgQuickValue(interface="wg0", setting="AllowedIPs", value="10.66.0.2/32", peer=KEY)
    made = steps(fix, asked("8\n", "10.66.0.9/32\n"))
    assert undone(made) == [("sed", "-i", "8s|=.*|= 10.66.0.9/32|", "/etc/wireguard/wg0.conf")]
    with pytest.raises(FixError, match="has no section for AllowedIPs"):
        steps(fix, asked("\n"))


def test_a_line_that_a_file_did_not_have_goes_again() -> None:
    """Protects the file of a tunnel: undone, it is as it was."""
    fix = WgQuickValue(interface="wg0", setting="PersistentKeepalive", value="25", peer=KEY)
    (step,) = steps(fix, asked("+8\n"))
    assert step.command == ("sed", "-i", "8a PersistentKeepalive = 25", "/etc/wireguard/wg0.conf")
    assert undone([step]) == [("sed", "-i", "9d", "/etc/wireguard/wg0.conf")]


def test_a_rule_comes_back_in_its_place() -> None:
    """Protects a firewall: the order of its rules decides."""
    place = {"family": "inet", "table": "filter", "chain": "input"}
    made = steps(FilterDelete(**place, handle=7), asked(RULES))  # type: ignore[arg-type]
    assert undone(made) == [
        ("nft", "add", "rule", "inet", "filter", "input", "position", "3", "udp dport 862 drop"),
    ]
    first = steps(FilterDelete(**place, handle=3), asked(RULES))  # type: ignore[arg-type]
    assert undone(first) == [("nft", "insert", "rule", "inet", "filter", "input", 'iifname "wg0" accept')]


def test_an_accepting_rule_is_found_again() -> None:
    """Protects from a rule that stays: its handle is known only once it is there."""
    fix = FilterAccept(family="inet", table="filter", chain="input", interface="wg0", protocol="udp", port=862)
    made = steps(fix, asked())
    assert made[0].command[:3] == ("nft", "--echo", "--handle")
    output = 'insert rule inet filter input iifname "wg0" udp dport 862 accept # handle 9\n'
    assert undone(made, output) == words("nft delete rule inet filter input handle 9")


def test_a_rule_in_front_of_another_is_found_again() -> None:
    """The same for one flow, in front of the rule that stops it: nft by the new handle, iptables by its words."""
    in_nft = FilterPass(family="inet", table="filter", chain="input", before=7, interface_in="wg0", source="10.66.0.2")
    (made,) = steps(in_nft, asked())
    assert made.command[:8] == ("nft", "--echo", "--handle", "insert", "rule", "inet", "filter", "input")
    output = 'insert rule inet filter input position 7 iifname "wg0" ip saddr 10.66.0.2 accept # handle 9\n'
    assert undone([made], output) == words("nft delete rule inet filter input handle 9")
    (made,) = steps(IPTABLES, asked("-P OUTPUT ACCEPT\n-A OUTPUT -j DROP\n"))
    assert undone([made]) == words("iptables-legacy -w -t filter -D OUTPUT -p udp --sport 51820 -j ACCEPT")


IPTABLES = IptablesPass(family="ip", table="filter", chain="OUTPUT", before=1, protocol="udp", source_port=51820)


def test_a_policy_of_ipsec_comes_back_with_its_priority() -> None:
    """And one that does not block any more is left alone."""
    fix = IpsecPolicyDelete(direction="out", source="0.0.0.0/0", destination="10.66.0.2/32", priority=7)
    made = list(steps(fix, asked("src 0.0.0.0/0 dst 10.66.0.2/32\n\tdir out action block priority 7\n")))
    assert undone(made) == words("ip xfrm policy add src 0.0.0.0/0 dst 10.66.0.2/32 dir out action block priority 7")
    with pytest.raises(FixError, match="does not block"):
        list(steps(fix, asked("src 0.0.0.0/0 dst 10.66.0.2/32\n\tdir out priority 7\n")))


def test_what_cannot_be_undone_says_so() -> None:
    """Protects from the promise of a way back that there is not."""
    assert [step.unmade for step in steps(ServiceRestart(service="nebula"), asked())] == [None]
    assert [step.unmade for step in steps(QueueDelete(interface="eth0"), asked())] == [None]
    assert [step.unmade for step in steps(FlowForget(destination="192.0.2.1"), asked())] == [None]
    assert [step.unmade for step in steps(WgQuick(interface="wg0", again=True), asked())] == [None, None]
    renewed = WireguardKey(interface="wg0", key=KEY, instead_of=OTHER, allowed_ips=("10.66.0.2/32",))
    assert [step.unmade for step in steps(renewed, asked(f"{OTHER}\t10.66.0.2/32\n"))] == [None, None]
    no_endpoint = WireguardPeer(interface="wg0", key=KEY, endpoint="192.0.2.1:51820")
    assert [step.unmade for step in steps(no_endpoint, asked(f"{KEY}\t(none)\n", f"{KEY}\t(none)\n"))] == [None]


def test_a_preshared_key_goes_where_the_peer_is() -> None:
    """Of several devices with the address, the one that has the peer; another program's device is passed over."""
    answers = iter(('[{"ifname": "eth0"}, {"ifname": "wg1"}]', FixError("not a WireGuard device"), f"{OTHER}\n{KEY}\n"))

    def ask(question: Command) -> str:
        answer = next(answers)
        if isinstance(answer, FixError):
            raise answer
        return answer

    (step,) = steps(NoPresharedKey(address="10.66.0.2", key=KEY), ask)
    assert step.command == ("wg", "set", "wg1", "peer", KEY, "preshared-key", "/dev/null")
    assert step.unmade is None  # nothing here has read the key


ALLOWED: Callable[..., WireguardPeer] = lambda *texts: WireguardPeer(  # noqa: E731
    interface="wg0", key=KEY, allowed_ips=texts
)
STALE: Mapping[str, tuple[Fix, tuple[str, ...], str]] = {
    "another peer has the address": (
        ALLOWED("10.66.0.2/32"), (f"{KEY}\t(none)\n{OTHER}\t10.66.0.2/32\n",), "belongs to another peer",
    ),
    "another peer has a wider network": (
        ALLOWED("10.66.0.2/32"), (f"{KEY}\t(none)\n{OTHER}\t10.66.0.0/24\n",), "belongs to another peer",
    ),
    "the old key is gone": (
        WireguardKey(interface="wg0", key=KEY, instead_of=OTHER, allowed_ips=("10.66.0.2/32",)), ("",), "any more",
    ),
    "another peer has the new one's address": (
        WireguardKey(interface="wg0", key=KEY, allowed_ips=("10.66.0.2/32",)), (f"{OTHER}\t10.66.0.2/32\n",),
        "belongs to another peer",
    ),
    "no device has the peer": (
        NoPresharedKey(address="10.66.0.2", key=KEY), ('[{"ifname": "wg0"}]', f"{OTHER}\n"), "no WireGuard interface",
    ),
    "the peer has more by now": (ALLOWED("10.66.0.2/32"), (f"{KEY}\t10.66.9.0/24\n",), "take away"),
    "the peer is gone": (ALLOWED("10.66.0.2/32"), (f"{OTHER}\t(none)\n",), "no peer with the key"),
    "only the tunnel leads there": (
        RouteAround(interface="wg0", endpoint="192.0.2.1"), ("default dev wg0\n",), "only wg0",
    ),
    "the route is gone": (
        Route(action="del", destination="10.66.0.2/32", gateway="192.168.0.1"), ("10.66.0.2 dev wg0\n",), "any more",
    ),
    "the policy rule is gone": (
        PolicyRule(action="del", family="-4", priority=90, does="prohibit"), ("[]",), "not there any more",
    ),
    "the refusing route is gone": (
        RefusalDelete(kind="prohibit", destination="10.66.0.2/32"), ("",), "not there any more",
    ),
    "the address is gone": (
        AddressDelete(interface="lo", address="10.66.0.2/32"), ('[{"addr_info": []}]',), "does not have",
    ),
    "the neighbour is not written by hand": (
        NeighbourDelete(interface="eth0", address="192.0.2.1"),
        ('[{"dst":"192.0.2.1","lladdr":"02::1","state":["STALE"]}]',), "nobody wrote",
    ),
    "the entry is right already": (
        ForwardingEntry(interface="vx0", hardware="02:00:00:00:00:99", address="192.0.2.9"), (FORWARDING,), "already",
    ),
    "the rule is gone": (
        FilterDelete(family="inet", table="filter", chain="input", handle=8), (RULES,), "not there any more",
    ),
    "the chain is shorter": (IPTABLES, ("-P OUTPUT DROP\n",), "has only 0 rules"),
    "the address is on no interface": (
        LinkMtuByAddress(address="10.66.0.2", mtu_bytes=1312), ("[]",), "on 0 interfaces",
    ),
    "its interface has a strange name": (
        LinkMtuByAddress(address="10.66.0.2", mtu_bytes=1312), ('[{"ifname": "-x"}]',), "not an interface",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fix", "answers", "said"), STALE.values(), ids=STALE)
def test_a_fix_that_is_not_right_any_more_is_left(fix: Fix, answers: tuple[str, ...], said: str) -> None:
    """Protects a working peer, and whatever has changed since the report was written."""
    with pytest.raises(FixError, match=said):
        steps(fix, asked(*answers))
