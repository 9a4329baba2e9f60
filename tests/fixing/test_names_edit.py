"""What a file of /etc says about names is changed, and nothing else in it."""

import pytest

from preflight.fixing.names_edit import edited, edited_file
from preflight.fixing.step import FixError
from preflight.model.fix import Fix, LinkUp
from preflight.model.name_fixes import HostsName, HostsNameLess, ResolverLess, SwitchToDns

HOSTS = "# ours\n127.0.0.1 localhost\n10.0.0.9 control.mesh Control printer  # old\n10.0.0.9 control\n"


@pytest.mark.parametrize(
    ("fix", "before", "after"),
    [
        (
            HostsName(host="control", address="10.66.0.3"),
            HOSTS,
            "# ours\n127.0.0.1 localhost\n10.0.0.9 control.mesh printer  # old\n10.66.0.3 control\n",
        ),
        (HostsName(host="control", address="fd66::3"), "::1 localhost", "::1 localhost\nfd66::3 control\n"),
        (
            HostsNameLess(host="control", address="fd66::dead"),
            "10.66.0.3 control\nfd66::dead control\n",
            "10.66.0.3 control\n",
        ),
        (
            SwitchToDns(services="files mdns4_minimal [NOTFOUND=return]"),
            "passwd: files\nhosts:  files mdns4_minimal [NOTFOUND=return] # here\nnetworks: files\n",
            "passwd: files\nhosts: files mdns4_minimal [NOTFOUND=return] dns  # here\nnetworks: files\n",
        ),
        (
            ResolverLess(address="10.0.0.1"),
            "search a.b\nnameserver  10.0.0.1\nnameserver 10.0.0.2\noptions ndots:2\n",
            "search a.b\nnameserver 10.0.0.2\noptions ndots:2\n",
        ),
    ],
)
def test_only_that_changes(fix: Fix, before: str, after: str) -> None:
    """Protects the other lines, names and comments of a file that others wrote."""
    assert edited(fix, before) == after


@pytest.mark.parametrize(
    ("fix", "text"),
    [
        (HostsNameLess(host="control", address="fd66::dead"), "10.66.0.3 control\n"),
        (SwitchToDns(services="files"), "hosts: files dns\n"),
        (SwitchToDns(services="files"), "passwd: files\n"),
        (ResolverLess(address="10.0.0.1"), "nameserver 10.0.0.2\n"),
        (ResolverLess(address="10.0.0.1"), "nameserver 10.0.0.1\nnameserver 10.0.0.1\n"),
    ],
)
def test_what_is_not_so_any_more_is_refused(fix: Fix, text: str) -> None:
    """A report may be older than the file; and a node without any resolver would be worse than before."""
    with pytest.raises(FixError):
        edited(fix, text)


def test_other_fixes_change_no_such_file() -> None:
    """Protects the applier's choice between commands and files."""
    assert edited_file(LinkUp(interface="wg0")) is None
    assert edited_file(HostsName(host="control", address="10.66.0.3")) == "/etc/hosts"
