"""The state before and after a fix: what changes by itself does not count, and what the kernel removed comes back."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from preflight.fixing.applier import Ran
from preflight.fixing.state import caused, differences, plain, repairs, seen, seen_again, views
from preflight.fixing.step import FixError
from preflight.model.change import NamedValue
from preflight.model.fix import KINDS, FilterDelete, KernelSettings, LinkMtu, PrivateFiles, Setting

LINKS = ("ip", "-o", "link", "show")
ADDRESSES = ("ip", "-o", "address", "show")
ROUTES = ("ip", "-4", "route", "show", "table", "all")
WG0 = "4: wg0: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu {} qdisc noqueue state UNKNOWN mode DEFAULT\\    link/none \n"


def test_what_changes_by_itself_is_no_difference() -> None:
    """Protects from the alarm that counters and lifetimes would raise after every undone fix."""
    assert plain(LINKS, WG0.format(1420)) == ("wg0 mtu 1420 up",)
    address = "2: eth0    inet 10.0.0.1/24 brd 10.0.0.255 scope global eth0\\       valid_lft {} preferred_lft {}\n"
    assert plain(ADDRESSES, address.format("9sec", "8sec")) == plain(ADDRESSES, address.format("forever", "forever"))
    own = "4: wg0    inet6 fe80::{}/64 scope link stable-privacy \\       valid_lft forever preferred_lft forever\n"
    assert plain(ADDRESSES, own.format(1)) == plain(ADDRESSES, own.format(2))  # the kernel's, for a link without a MAC
    late = "2: eth0    inet6 fe80::e8ab:ddff:fe3c:9c51/64 scope link \\       valid_lft forever preferred_lft forever\n"
    assert plain(ADDRESSES, late) == ()  # made only when the kernel has seen the carrier, a second later on a busy node
    routes = "default via 10.0.0.254 dev eth0 linkdown \nfe80::/64 dev eth0 expires 12sec \n"
    routes += "local fe80::1 dev wg0 table local proto kernel metric 0 pref medium\n"
    routes += "fe80::/64 dev eth0 proto kernel metric 256 pref medium\n"
    routes += "multicast ff00::/8 dev eth0 table local proto kernel metric 256 pref medium\n"
    assert plain(ROUTES, routes) == ("default via 10.0.0.254 dev eth0",)
    rule = "table inet t {{\n\tchain c {{\n\t\tcounter packets {} bytes {} drop\n\t}}\n}}\n"
    table = ("nft", "list", "table", "inet", "t")
    assert plain(table, rule.format(1, 60)) == plain(table, rule.format(22, 900))


def test_differences_are_lines_that_can_be_read() -> None:
    """Protects the person who must put right what could not be undone; the order of rules counts too."""
    before = {"ip -o link show": ("wg0 mtu 1420 up",), "nft list table inet t": ("a", "b")}
    after = {"ip -o link show": ("wg0 mtu 1312 up",), "nft list table inet t": ("b", "a")}
    assert differences(before, before) == ()
    assert differences(before, after) == (
        "gone: wg0 mtu 1420 up",
        "new: wg0 mtu 1312 up",
        "in another order: nft list table inet t",
    )


def test_late_only_what_the_fix_changed_counts() -> None:
    """Protects a node that somebody changed since: undoing a fix a week later must not undo that too."""
    before, after = {"x": ("a", "b")}, {"x": ("a", "c")}
    assert caused(before, after, {"x": ("a", "b", "theirs")}) == {"x": ("a", "b")}
    assert caused(before, after, {"x": ("b",)}) == {"x": ("a", "b")}
    assert differences(before, caused(before, after, {"x": ("a", "c")})) == ("gone: b", "new: c")


def test_what_the_kernel_removed_along_is_given_back() -> None:
    """Protects an interface's IPv6 address, which goes with a small MTU, and routes that named a deleted address."""
    address = "wg0 inet6 fd66::1/64 scope global"
    before = {
        "ip -o address show": (address,),
        "ip -4 route show table all": ("10.9.0.0/16 dev wg0 scope link src 10.66.0.1", "local 10.66.0.1 dev wg0"),
    }
    after = {"ip -o address show": (), "ip -4 route show table all": ()}
    assert repairs(before, after) == (
        ("ip", "address", "add", "fd66::1/64", "dev", "wg0"),
        ("ip", "-4", "route", "add", "10.9.0.0/16", "dev", "wg0", "scope", "link", "src", "10.66.0.1"),
    )
    assert repairs(before, before) == ()


def test_every_kind_of_fix_has_views_without_secrets() -> None:
    """Protects a private key: `wg showconf` and `dump` print it, and no view may use them."""
    assert len(KINDS) > 30
    rule = FilterDelete(family="inet", table="t", chain="c", handle=4)
    assert ("nft", "list", "table", "inet", "t") in views(rule)
    assert ("ip", "-o", "link", "show") in views(LinkMtu(interface="wg0", mtu_bytes=1300))
    settings = KernelSettings(settings=(NamedValue("net.ipv4.ip_forward", "1"),))
    assert ("sysctl", "net.ipv4.ip_forward") in views(settings)
    assert views(Setting(file="/p.yaml", key="control.scope_id", value="x")) == ()
    source = (Path(__file__).parents[2] / "preflight" / "fixing" / "state.py").read_text(encoding="utf-8")
    assert '"dump"' not in source
    assert '"showconf"' not in source


def test_the_state_is_read_by_absolute_paths_and_read_again() -> None:
    """Protects a path with a space, and says what cannot be read."""
    asked: list[list[str]] = []

    def run(argv: Sequence[str]) -> Ran:
        asked.append(list(argv))
        return Ran(0, "644 /a b\n")

    before = seen([PrivateFiles(paths=("/a b",))], run)
    assert seen_again(before, run) == before == {"stat -L -c '%a %n' '/a b'": ("644 /a b",)}
    assert asked[0] == asked[1]
    assert asked[0][1:] == ["-L", "-c", "%a %n", "/a b"]
    with pytest.raises(FixError, match="the state before cannot be read: stat -L -c failed: no"):
        seen([PrivateFiles(paths=("/a",))], lambda argv: Ran(1, "", "no\n"))
