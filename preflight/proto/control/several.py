"""Do answers to one question come from several control planes? Pure."""

from collections.abc import Collection, Iterable

from preflight.model.control import NodeList

TEST_NODES = "preflight-"
"""How ids of test enrolments begin: these nodes come and go."""


def members(listed: NodeList) -> frozenset[str]:
    """The nodes of a list, without those that only test."""
    return frozenset(node.id for node in listed.nodes if not node.id.startswith(TEST_NODES))


def alternating(first: Iterable[NodeList], then: Iterable[NodeList]) -> Collection[frozenset[str]]:
    """The lists that come again and again, where there are two or more; none where one list changed in between."""
    both = {members(each) for each in first} & {members(each) for each in then}
    return both if len(both) > 1 else frozenset()
