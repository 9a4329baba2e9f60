"""Why this node's own kernel refuses a connection to a host that may be outside of all tunnels."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from preflight.model.remedy import as_text
from preflight.model.routing import Rule
from preflight.proto.way.own_refusal import own_refusal
from tests.proto.way.world import ENTRIES, INNER, PEER, RULES, TUNNEL, entry, state

FLOW = replace(INNER, protocol="tcp", destination_port=9847)
HOST = "the control host"


def test_what_leaves_is_not_refused() -> None:
    """Protects from blaming this node for what a router says."""
    assert own_refusal(state(flows=(FLOW,)), FLOW, HOST, TUNNEL) is None
    assert own_refusal(state(flows=(FLOW,)), FLOW, HOST, None) is None
    assert own_refusal(state(), FLOW, HOST, None) is None


def test_a_rule_is_named_and_deleted_with_a_tunnel_or_without() -> None:
    """The rule's words, its type, and a fix that is tried on the dumps first."""
    rule = Rule(version=4, priority=60, destination=ip_network(f"{PEER}/32"), action="prohibit")
    made = state(rules=(*RULES, rule), flows=(FLOW,))
    for tunnel in (replace(TUNNEL, peer=HOST), None):
        death = own_refusal(made, FLOW, HOST, tunnel)
        assert death is not None
        assert f"kernel refuses TCP port 9847 for {HOST} ({PEER})" in death.message
        assert f"`60: to {PEER}/32 prohibit` is of type prohibit" in death.message
        assert death.facts is not None
        assert death.facts.route_type == "prohibit"
        assert str(as_text(death.remedies)).startswith(f"ip -4 rule del to {PEER}/32 pref 60 prohibit")


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
def test_a_route_is_deleted_only_where_that_leads_on(kind: str) -> None:
    """Where nothing else leads there, what to look at is all that can be said."""
    refusing = entry(f"{PEER}/32", type=kind)
    death = own_refusal(state(entries=(*ENTRIES, refusing), flows=(FLOW,)), FLOW, HOST, None)
    assert death is not None
    assert str(as_text(death.remedies)).startswith(f"ip -4 route del {kind} {PEER}/32")
    alone = own_refusal(state(entries=(refusing,), flows=(FLOW,)), FLOW, HOST, None)
    assert alone is not None
    assert [remedy.kind for remedy in alone.remedies] == ["next"]


def test_no_route() -> None:
    """Nothing to delete: the sentence says that none leads there."""
    death = own_refusal(state(entries=(), flows=(FLOW,)), FLOW, HOST, None)
    assert death is not None
    assert "none of its routes leads there" in death.message
    assert death.certain
