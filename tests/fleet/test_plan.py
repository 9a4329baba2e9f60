"""A run on paper."""

from preflight.fleet.hosts import Host
from preflight.fleet.plan import plan_text
from preflight.fleet.schedule import Pairs


def test_a_plan_says_who_when_and_how_much() -> None:
    """Protects the questions that come before a run on a live network."""
    hosts = [Host("a", "10.66.0.1", "oslo"), Host("b", "10.66.0.2", "rome"), Host("c")]
    text = plan_text(hosts, Pairs(), 0)
    assert text.startswith("3 nodes, 2 sites, 3 pairs in 3 rounds\nabout ")
    assert " packets\n" in text
    assert "no overlay_address, so the node is asked: c\n" in text
    assert text.count(" ↔ ") == 3


def test_a_large_plan_is_told_in_numbers() -> None:
    """Protects terminals from half a million lines."""
    text = plan_text([Host(f"n{number}", f"10.66.0.{number}") for number in range(1, 60)], Pairs(), 0)
    assert "1711 pairs in 59 rounds" in text
    assert "↔" not in text
