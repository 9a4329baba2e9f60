"""A node's own files about names: what the C library reads in them, and no more."""

import pytest

from preflight.model.dns import NameFiles
from preflight.model.name_fixes import HostsName, ResolverLess, SwitchToDns
from preflight.proto.control.naming import (
    asking_resolvers,
    candidate_names,
    host_addresses,
    host_line,
    named_here,
    without_resolver,
)


@pytest.mark.parametrize(
    ("text", "services", "asks_no_resolver"),
    [
        ("hosts: files dns\n", ("files", "dns"), False),
        ("hosts:files mdns4_minimal [NOTFOUND=return] resolve\n", ("files", "mdns4_minimal", "resolve"), False),
        ("passwd: files\nhosts: files   # no dns here\n", ("files",), True),
        ("# hosts: files dns\n", (), False),
        ("", (), False),
    ],
)
def test_services(text: str, services: tuple[str, ...], asks_no_resolver: bool) -> None:
    """Only a line that is there and names no resolver proves that none is asked; without one the default has dns."""
    files = NameFiles(host_line(text))
    assert files.services == services
    assert files.asks_no_resolver is asks_no_resolver


def test_hosts_file() -> None:
    """Names are alike in any case, comments do not count, and each address is there once."""
    text = "127.0.0.1 localhost\n10.66.0.3 Control.mesh.example control # old\n# 10.66.0.4 control\nfd66::3 control\n"
    assert host_addresses(text, "control") == ("10.66.0.3", "fd66::3")
    assert host_addresses(text, "CONTROL.mesh.example.") == ("10.66.0.3",)
    assert host_addresses(text, "old") == ()


def test_a_name_with_a_final_dot_is_searched_nowhere() -> None:
    """So it is the way to keep a wildcard of the search list out."""
    assert candidate_names("control.", ["corp.test"], 5) == ["control."]
    assert candidate_names("a.b", ["corp.test."], 5) == ["a.b.corp.test.", "a.b."]


def test_a_resolver_is_taken_off_a_list_that_nothing_writes() -> None:
    """A program that writes resolv.conf would put the line back, so that list is changed where the program reads it."""
    (remedy,) = without_resolver("10.0.0.1", NameFiles())
    assert remedy.fix == ResolverLess(address="10.0.0.1")
    (remedy,) = without_resolver("10.0.0.1", NameFiles(written_by="/run/systemd/resolve/stub-resolv.conf"))
    assert remedy.fix is None


def test_the_hosts_file_names_only_where_programs_read_it_first() -> None:
    """A line in a file that nothing reads heals nothing."""
    (remedy,) = named_here("control.", "10.66.0.3", NameFiles("files dns"))
    assert remedy.fix == HostsName(host="control", address="10.66.0.3")
    (remedy,) = named_here("control", "10.66.0.3", NameFiles("dns"))
    assert remedy.fix is None


def test_a_switch_that_cannot_be_read_is_left_to_a_person() -> None:
    """A line that no fix may write is not made one."""
    (remedy,) = asking_resolvers(NameFiles("files"))
    assert remedy.fix == SwitchToDns(services="files")
    (remedy,) = asking_resolvers(NameFiles("files; reboot"))
    assert remedy.fix is None
