"""A node's own files about names: what the C library reads in them, and no more."""

import pytest

from preflight.model.dns import NameFiles
from preflight.proto.control.naming import candidate_names, host_addresses, host_services


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
    assert host_services(text) == services
    assert NameFiles(services).asks_no_resolver is asks_no_resolver


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
