"""Who answers on a responder's port, but not with an answer that this node can use; in sentences."""

from collections.abc import Mapping

from preflight.model.rejected import ECHOED, OTHER_KEY, UNSIGNED
from preflight.model.remedy import Remedies, look
from preflight.proto.responder.reach import start_responder

_WHO = {
    OTHER_KEY: "a responder with another key answers on {place}",
    UNSIGNED: "what answers on {place} does not sign its answers, although this node has a key",
    ECHOED: "something that is not a responder answers on {place}: it sends back what it gets",
}
"""The first of these that was seen is the most exact one."""
_NOBODY = "something that is not a responder answers on {place}"


def who_answers(name: str, port: int, rejected: Mapping[str, int]) -> str:
    """Who it is, with how many datagrams came and why none counts. rejected: their number by reason, not empty."""
    place = f"UDP port {port} of {name}"
    sentence = next((_WHO[reason] for reason in _WHO if reason in rejected), _NOBODY)
    total = sum(rejected.values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(rejected.items()))
    return f"{sentence.format(place=place)} ({total} {'datagram' if total == 1 else 'datagrams'}: {reasons})"


def replace_answerer(
    name: str, address: str, port: int, rejected: Mapping[str, int], *, keyed: bool = False
) -> Remedies:
    """What to do at the peer: find what has the port, if not a responder, and start one that fits this node.

    keyed: this node signs its packets.
    """
    by_key = OTHER_KEY in rejected or UNSIGNED in rejected
    start = start_responder(name, address, port, keyed=keyed or by_key, certain=by_key)
    if by_key:
        return start
    holder = f"ss -lunp 'sport = :{port}'   # on {name}: stop what has the port"
    return (*look(holder, where="peer", host=name, root=True), *start)
