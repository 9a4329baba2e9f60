"""What is said of a machine's gaps: their cost, and lines that fit the machine."""

from dataclasses import replace

import pytest

from preflight.engine.catalog import load_catalog
from preflight.engine.machine import PACKAGES, exit_code, install_lines, needs
from preflight.model.machine import Family, Machine, Need
from preflight.net.machine import FEATURES, PROGRAMS

WHOLE = Machine(
    "linux",
    "6.1",
    "Debian GNU/Linux 12",
    "debian",
    (3, 11, 2),
    root=True,
    capabilities=frozenset({"net_admin", "net_raw"}),
    programs=frozenset(PROGRAMS),
    features=dict.fromkeys(FEATURES, True),
    ansible=True,
    port=862,
    listener="python3",
)
CHECKS = load_catalog(third_party=False).checks


def of(machine: Machine, id: str) -> Need:
    """What is said about one thing."""
    (found,) = (need for need in needs(machine, CHECKS) if need.id == id)
    return found


def test_a_machine_that_has_everything_lacks_nothing() -> None:
    """Nothing is asked of a user who has it all."""
    found = needs(WHOLE, CHECKS)
    assert {need.state for need in found} == {"here"}
    assert exit_code(found) == 0
    assert list(install_lines(WHOLE, found)) == []


def test_a_plain_user_learns_what_that_costs_and_the_ways_around_it() -> None:
    """The checks that see less come from the catalogue, and each line can be pasted by that user."""
    plain = replace(WHOLE, root=False, capabilities=frozenset())
    admin, raw = of(plain, "net_admin"), of(plain, "net_raw")
    assert {"overlay.session", "way.packet"} <= set(admin.checks)
    assert {"reach.icmp", "mtu.echo", "way.packet"} <= set(raw.checks)
    assert all(line.startswith("sudo ") for need in (admin, raw) for line in need.get)
    assert exit_code(needs(plain, CHECKS)) == 1


def test_ping_sockets_are_half_of_raw_sockets() -> None:
    """Echoes work then, so only the taps are missing."""
    raw = of(replace(WHOLE, root=False, capabilities=frozenset(), ping_sockets=True), "net_raw")
    assert (raw.state, raw.checks) == ("partly", ("way.packet",))


def test_root_without_a_capability_is_in_a_container() -> None:
    """`sudo` gives root nothing that it lacks."""
    raw = of(replace(WHOLE, capabilities=frozenset({"net_admin"})), "net_raw")
    assert "--cap-add=NET_RAW" in raw.get[0]


@pytest.mark.parametrize(
    ("family", "root", "line"),
    [
        ("debian", False, "sudo apt-get install git openssh-client iproute2"),
        ("fedora", False, "sudo dnf install git openssh-clients iproute"),
        ("arch", True, "pacman -S git openssh iproute2"),
    ],
)
def test_one_line_installs_all_that_is_missing(family: Family, root: bool, line: str) -> None:
    """Each package once, by its name on this distribution; two programs of one package name it once."""
    lacking = frozenset(PROGRAMS) - {"git", "ssh", "ip", "ss"}
    machine = replace(WHOLE, family=family, root=root, programs=lacking)
    assert list(install_lines(machine, needs(machine, CHECKS))) == [line]


def test_an_unknown_distribution_gets_a_line_for_each_known_one() -> None:
    """The reader knows which is near; nothing is guessed."""
    machine = replace(WHOLE, family=None, programs=frozenset(PROGRAMS) - {"nft"})
    lines = list(install_lines(machine, needs(machine, CHECKS)))
    assert [line.partition("#")[2].strip() for line in lines] == ["Debian, Ubuntu", "Fedora", "Arch"]


def test_programs_of_commands_and_the_lab_do_not_fail_the_machine() -> None:
    """The exit code is about the checks: a node needs no `sshd`."""
    machine = replace(WHOLE, programs=frozenset({"git"}), listener=None, ansible=False)
    assert exit_code(needs(machine, CHECKS)) == 0


def test_a_kernel_that_shows_nothing_is_not_known_and_not_missing() -> None:
    """A container does not see its host's modules; a false alarm would cost more than it saves."""
    found = needs(replace(WHOLE, features=dict.fromkeys(FEATURES, None)), CHECKS)
    assert {need.state for need in found if need.id in FEATURES} == {"unknown"}
    assert exit_code(found) == 0


def test_a_kernel_without_a_feature_costs_what_it_shows() -> None:
    """Without nf_tables, no rule is named; nothing else is said to be missing."""
    need = of(replace(WHOLE, features={**WHOLE.features, "nf_tables": False}), "nf_tables")
    assert (need.state, need.checks) == ("missing", ("way.packet",))


def test_other_systems_are_told_honestly() -> None:
    """On macOS the path is not measured at all, and no line pretends to change that."""
    found = needs(Machine("darwin", "24.1", python=(3, 12, 1)), CHECKS)
    assert next(need for need in found if need.id == "linux").state == "missing"
    assert exit_code(found) == 1
    assert "net_raw" not in {need.id for need in found}


def test_a_newer_python_is_not_known_to_work() -> None:
    """It runs, but nobody has tried."""
    assert of(replace(WHOLE, python=(3, 14, 0)), "python").state == "unknown"
    assert of(replace(WHOLE, python=(3, 13, 9)), "python").state == "here"


def test_settings_that_cannot_be_used_are_named() -> None:
    """Every check would end with the same sentence."""
    need = of(replace(WHOLE, settings="preflight.yaml line 3: 'peer' is not known"), "settings")
    assert (need.state, need.costs) == ("missing", "preflight.yaml line 3: 'peer' is not known")


def test_checks_that_are_named_exist() -> None:
    """A check that is renamed must not stay in an answer under its old name."""
    bare = replace(WHOLE, root=False, capabilities=frozenset(), programs=frozenset(), features={})
    assert {id for need in needs(bare, CHECKS) for id in need.checks} <= {check.id for check in CHECKS}


def test_every_program_that_is_looked_for_has_a_package() -> None:
    """A program without a package could only be named."""
    assert set(PROGRAMS) == set(PACKAGES)
