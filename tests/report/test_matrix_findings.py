"""Root causes across nodes: which node, pair or way is blamed for what is bad."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from preflight.report.fields import StatusName
from preflight.report.matrix import Finding, OwnCause, View, Way
from preflight.report.matrix_findings import Told, find_causes
from preflight.report.matrix_sites import Ends

NODES = "abcdef"
SOME_WAYS = st.sets(st.sampled_from(sorted(permutations(NODES, 2))))


def ways(bad: set[Ends], status: StatusName = "fail", unmeasured: set[Ends] | None = None) -> list[Way]:
    """All ways between six nodes."""
    found = []
    for source, target in permutations(NODES, 2):
        if (source, target) in (unmeasured or set()):
            continue
        is_bad = (source, target) in bad
        view = View(
            by=source,
            direction="forward",
            status=status if is_bad else "pass",
            code="reach.no-forward" if is_bad else None,
            message=f"{source} to {target}",
            result="",
        )
        found.append(Way(source=source, target=target, status=view.status, contradiction=False, views=(view,)))
    return found


def touching(node: str, *, to: bool = True, source: bool = True) -> set[Ends]:
    """All ways to a node, from it, or both."""
    return {each for each in permutations(NODES, 2) if (to and each[1] == node) or (source and each[0] == node)}


def subjects(found: tuple[Finding, ...]) -> list[str]:
    """What the findings are about."""
    return [finding.subject for finding in found]


def test_a_dead_node_is_one_finding_in_its_own_words() -> None:
    """Ten bad ways have one reason, and the node itself knows it."""
    own = {
        "c": [OwnCause(code="overlay.down", status="fail", target="node", message="wg0 is down", remedies=("fix: x",))]
    }
    (found,) = find_causes(ways(touching("c")), [], own)
    assert (found.subject, found.code, found.by) == ("everything to and from c", "overlay.down", "c")
    assert (len(found.ways), found.seen_by, found.remedies) == (10, tuple(NODES), ("fix: x",))


def test_one_direction_of_a_node() -> None:
    """What arrives nowhere from c leaves what arrives at c alone."""
    assert subjects(find_causes(ways(touching("c", to=False)), [], {})) == ["everything from c"]
    assert subjects(find_causes(ways(touching("c", source=False)), [], {})) == ["everything to c"]


def test_a_pair_and_a_single_way() -> None:
    """With good ways to both ends neither node is blamed."""
    assert subjects(find_causes(ways({("a", "b"), ("b", "a"), ("d", "e")}), [], {})) == ["a ↔ b", "d → e"]


def test_two_dead_nodes_are_two_findings() -> None:
    """The way between them belongs to one of them."""
    found = find_causes(ways(touching("c") | touching("e")), [], {})
    assert subjects(found) == ["everything to and from c", "everything to and from e"]
    assert sum(len(finding.ways) for finding in found) == len(touching("c") | touching("e"))


def test_what_died_at_its_senders_does_not_count_against_the_receiver() -> None:
    """Five nodes with the same wrong rule: each is its own place, and c is not to blame."""
    bad = touching("c", source=False)
    told = [Told(source, "c", (source, "c"), "host.firewall-drop", "rule", at=source) for source, _ in bad]
    assert {finding.scope for finding in find_causes(ways(bad), told, {})} == {"way"}


def test_a_proven_place_is_told_before_silence() -> None:
    """One node knows where packets die; the others only miss them."""
    told = [
        Told("a", "c", None, "reach.unreachable", "nothing comes back"),
        Told("b", "c", None, "reach.unreachable", "nothing comes back"),
        Told("d", "c", ("d", "c"), "host.firewall-drop", "c's rule drops them", at="c"),
    ]
    (found,) = find_causes(ways(touching("c")), told, {})
    assert (found.code, found.by) == ("host.firewall-drop", "d")


def test_warnings_are_found_beside_failures() -> None:
    """A slow uplink is one finding, and a dead pair on it another one."""
    lossy = [way for way in ways(touching("c"), "warn") if {way.source, way.target} != {"a", "c"}]
    dead = [way for way in ways({("a", "c"), ("c", "a")}) if {way.source, way.target} == {"a", "c"}]
    found = find_causes([*lossy, *dead], [], {})
    assert [(finding.subject, finding.status) for finding in found] == [
        ("a ↔ c", "fail"),
        ("everything to and from c", "warn"),
    ]


def test_what_several_nodes_say_of_the_control_plane_is_one_finding() -> None:
    """Six reports with the same cause are one dead control plane."""
    cause = OwnCause(code="control.refused", status="fail", target="control", message="nobody listens")
    (found,) = find_causes(ways(set()), [], {"a": [cause], "b": [cause], "c": []})
    assert (found.subject, found.seen_by) == ("the control plane", ("a", "b"))


@given(
    st.sets(st.sampled_from(sorted(permutations(NODES, 2)))), st.sets(st.sampled_from(sorted(permutations(NODES, 2))))
)
def test_every_bad_way_is_explained_once_and_no_good_one(bad: set[Ends], unmeasured: set[Ends]) -> None:
    """Nothing is lost, nothing is said twice, and a node with a good way in that direction is not blamed for all."""
    measured = ways(bad, unmeasured=unmeasured)
    found = find_causes(measured, [], {})
    explained = [ends for finding in found for ends in finding.ways]
    assert sorted(explained) == sorted(bad - unmeasured)
    good = {(way.source, way.target) for way in measured if way.status == "pass"}
    for finding in found:
        node = finding.nodes[0]
        assert not (finding.scope in ("node", "to") and any(target == node for _, target in good))
        assert not (finding.scope in ("node", "from") and any(source == node for source, _ in good))
