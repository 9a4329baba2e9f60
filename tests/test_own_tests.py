"""Every module's test is found by its name, or a list says where it is."""

from pathlib import Path

from tests.own_tests import ELSEWHERE, ROOT, modules, own_test


def test_the_test_of_a_module_is_found_by_its_name() -> None:
    """A developer who changes a module must find what protects it without a search."""
    without = [str(module) for module in modules() if not (ROOT / own_test(module)).exists()]
    assert sorted(without) == sorted(ELSEWHERE), "write the test, or name in tests/own_tests.py the one that covers it"


def test_the_list_of_exceptions_names_real_tests() -> None:
    """An exception that points nowhere protects nothing."""
    assert [test for test in ELSEWHERE.values() if not (ROOT / test).exists()] == []


def test_a_test_lies_at_the_path_of_its_module() -> None:
    """The rule itself, for both packages."""
    assert own_test(Path("preflight/proto/pmtu/fast.py")) == Path("tests/proto/pmtu/test_fast.py")
    assert own_test(Path("checks/mtu_path.py")) == Path("tests/checks/test_mtu_path.py")
