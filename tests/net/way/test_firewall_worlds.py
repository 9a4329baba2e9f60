"""Random rules and flows in a namespace: what is called certain is what the kernel does, and so is what is clear."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from preflight.model.flow import Flow
from preflight.net.way.firewall import Firewall
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.observation import Observation

from .conftest import OWN, Namespace
from .rulesets import rulesets

pytestmark = [pytest.mark.lab]
COUNT = 3


class Ports:
    """A fresh port for each flow, so that no example meets another one's connection."""

    next = 20000


def agrees(observations: tuple[Observation, ...], arrived: int) -> None:
    findings = [each.finding for each in observations]
    deaths = [each.death for each in observations if each.death is not None]
    said = "certain" if any(death.certain for death in deaths) else " ".join(sorted(set(findings)))
    event(f"{said}, {arrived} arrive")
    if any(death.certain for death in deaths):
        assert arrived == 0 or arrived < COUNT, (arrived, observations)
    if all(each == "clear" for each in findings):
        assert arrived == COUNT, (arrived, observations)
    if arrived == COUNT:
        assert not any(death.certain for death in deaths), observations
    if arrived == 0:
        assert set(findings) != {"clear"}, observations


flows = st.fixed_dictionaries(
    {
        "version": st.sampled_from((4, 4, 6)),
        "mark": st.sampled_from((0, 0, 1, 7)),
        "length_bytes": st.sampled_from((100, 1400)),
    }
)
ours = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@ours
@given(text=rulesets(("output", "postrouting")), what=flows, tracked=st.booleans())
def test_what_leaves_is_what_was_said(namespace: Namespace, text: str, what: dict[str, int], tracked: bool) -> None:
    """Nothing that leaves was called dead, and nothing that was called clear is missing."""
    namespace.nft_without_errors(text)
    Ports.next += 1
    flow = namespace.flow(port=Ports.next, **what)
    before = Firewall().snapshot()
    left = len(namespace.send(flow, COUNT))
    after = Firewall().snapshot([flow] if tracked else [], OWN.values())
    agrees(observe_filters(before, after, [Burst(flow=flow, sent=COUNT)]), left)


@ours
@given(text=rulesets(("prerouting", "input")), what=flows, tracked=st.booleans(), asked=st.booleans())
def test_what_arrives_is_what_was_said(
    namespace: Namespace, text: str, what: dict[str, int], tracked: bool, asked: bool
) -> None:
    """The same for what comes in, as an answer or not."""
    namespace.nft_without_errors(text)
    Ports.next += 1
    there = namespace.flow(port=Ports.next, **what)
    flow: Flow = replace(there.answer(), mark=0)
    if asked:
        namespace.send(there, 1)
    before = Firewall().snapshot()
    got = namespace.receive(flow, COUNT)
    after = Firewall().snapshot([flow] if tracked else [], OWN.values())
    agrees(observe_filters(before, after, [Burst(flow=flow, direction="reverse", sent=COUNT)]), got)


def _table(name: str, rule: str = "") -> str:
    begins = "type filter hook output priority -10;"
    return f"table inet {name} {{ {f'chain c {{ {begins} {rule}; }};' if rule else ''} }}"


SETS, DROPS = "meta mark set 1", "meta mark 1 drop"


@pytest.mark.parametrize(
    ("texts", "arrive"),
    [
        ([_table("t0", SETS), _table("t1", DROPS)], COUNT),
        ([_table("t0", DROPS), _table("t1", SETS)], 0),
        ([_table("t0"), _table("t1", DROPS), _table("t0", SETS)], 0),
    ],
    ids=["the later chain first", "and so it marks", "an older table with a younger chain"],
)
def test_chains_of_one_priority(namespace: Namespace, texts: list[str], arrive: int) -> None:
    """Protects from a rule called certain that never sees the mark: the last chain of a priority is first.

    The kernel lists its tables in the order in which they came, and not their chains.
    """
    for text in texts:
        namespace.nft(text)
    flow = namespace.flow(port=862, version=4, mark=0, length_bytes=100)
    before = Firewall().snapshot()
    assert len(namespace.send(flow, COUNT)) == arrive
    found = observe_filters(before, Firewall().snapshot(), [Burst(flow=flow, sent=COUNT)])
    deaths = [each.death for each in found if each.death is not None]
    assert arrive or deaths, "what drops them is named"
    assert not any(death.certain for death in deaths), "and is not called certain, for the order is not known"


def test_the_other_family_s_marks_leave_a_rule_certain(namespace: Namespace) -> None:
    """Protects a plain tunnel of wg-quick: its tables for IPv4 and IPv6 have one priority, and no packet meets both."""
    begins = "type filter hook output priority -10;"
    namespace.nft(f"table ip6 other {{ chain c {{ {begins} meta mark set 1; }}; }}")
    namespace.nft(f"table ip guard {{ chain c {{ {begins} meta mark != 1 drop; }}; }}")
    flow = namespace.flow(port=862, version=4, mark=0, length_bytes=100)
    before = Firewall().snapshot()
    assert namespace.send(flow, COUNT) == []
    found = observe_filters(before, Firewall().snapshot(), [Burst(flow=flow, sent=COUNT)])
    assert [each.death.certain for each in found if each.death is not None] == [True]
