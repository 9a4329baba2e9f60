"""When a site, or a pair of sites, is blamed for the ways between its nodes and others."""

from itertools import permutations

from preflight.report.matrix import View, Way
from preflight.report.matrix_findings import find_causes
from preflight.report.matrix_sites import Ends, site_suspects

SITES = {f"{site}{number}": site for site in ("oslo", "rome", "lima") for number in range(3)}
WAYS = set(permutations(SITES, 2))


def between(*sites: str) -> set[Ends]:
    """All ways between a site and the others, or from one site to another."""
    ends = {way: (SITES[way[0]], SITES[way[1]]) for way in WAYS}
    if len(sites) == 1:
        return {way for way, (source, target) in ends.items() if (source == sites[0]) != (target == sites[0])}
    return {way for way in WAYS if ends[way] == sites}


def subjects(bad: set[Ends], sites: dict[str, str]) -> list[str]:
    """What is blamed for these ways."""
    ways = []
    for source, target in sorted(WAYS):
        status = "fail" if (source, target) in bad else "pass"
        view = View.model_validate(
            {"by": source, "direction": "forward", "status": status, "code": None, "message": "", "result": ""}
        )
        ways.append(Way(source=source, target=target, status=view.status, contradiction=False, views=(view,)))
    return [finding.subject for finding in find_causes(ways, [], {}, sites)]


def test_a_dead_uplink_is_one_finding() -> None:
    """Protects from eighteen alarms for one line; without the sites nobody could know."""
    assert subjects(between("oslo"), SITES) == ["everything between the site oslo and the others"]
    assert len(subjects(between("oslo"), {})) == 9 + 9


def test_one_direction_of_an_uplink() -> None:
    """Protects the direction, which says where to look."""
    sent = between("oslo", "rome") | between("oslo", "lima")
    assert subjects(sent, SITES) == ["everything from the site oslo to the others"]
    received = {way[::-1] for way in sent}
    assert subjects(received, SITES) == ["everything from other sites to the site oslo"]


def test_two_sites() -> None:
    """Protects both sites from the blame for the line between them."""
    there, back = between("oslo", "rome"), between("rome", "oslo")
    assert subjects(there | back, SITES) == ["everything between the sites oslo and rome"]
    assert subjects(there, SITES) == ["everything from the site oslo to the site rome"]


def test_one_good_way_acquits_the_site() -> None:
    """Protects a site with one line that works: its pairs are listed one by one."""
    assert "everything between the site oslo and the others" not in subjects(
        between("oslo") - {("oslo0", "rome0")}, SITES
    )


def test_one_node_is_not_a_site() -> None:
    """Protects a site from the fault of the only one of its nodes that was measured."""
    bad = {way for way in between("oslo") if "oslo0" in way}
    assert list(site_suspects(bad, set(), SITES)) == []
    assert subjects({way for way in WAYS if "oslo0" in way}, SITES) == ["everything to and from oslo0"]
