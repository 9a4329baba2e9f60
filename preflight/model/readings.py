"""What a reader looks for in facts of whatever kind: None where these facts do not have it."""

from preflight.model.facts import (
    AnswerFacts,
    EchoFacts,
    Facts,
    HealthFacts,
    InterfaceFacts,
    LossFacts,
    MemberFacts,
    MtuFacts,
)


def carried_bytes(facts: Facts | None) -> int | None:
    """The largest packet that a path or an interface carries, bytes."""
    return facts.mtu_bytes if isinstance(facts, MtuFacts | InterfaceFacts) else None


def median_ms(facts: Facts | None) -> float | None:
    """The median round trip of many packets."""
    return facts.rtt_median_ms if isinstance(facts, LossFacts) else None


def quickest_ms(facts: Facts | None) -> float | None:
    """The quickest round trip of a few packets."""
    return facts.rtt_min_ms if isinstance(facts, AnswerFacts | EchoFacts | HealthFacts) else None


def members(facts: Facts | None) -> tuple[str, ...] | None:
    """The targets that a finding about this node concerns; None: all of them."""
    return facts.members if isinstance(facts, MemberFacts) else None
