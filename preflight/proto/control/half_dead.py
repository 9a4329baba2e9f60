"""A control host with addresses that accept connections, and others that do not; pure."""

from collections.abc import Collection, Sequence
from functools import partial

from preflight import codes
from preflight.model.facts import DeathFacts
from preflight.model.name_fixes import HostsNameLess
from preflight.model.remedy import Remedies, by_hand, heal
from preflight.model.tcp import Connection
from preflight.proto.control.answers import Finding


def half_dead(host: str, connections: Sequence[Connection], said: str, by_file: Collection[str]) -> Finding | None:
    """What is wrong where some addresses accept connections, and clients may try another one first; None if all do.

    A whole family that is dead says more than one address. said: how each connection ended. by_file: the host's
    addresses in this node's hosts file.
    """
    opened = [each for each in connections if each.outcome == "open"]
    families = {each.family for each in opened}
    lost = [each for each in connections if each.family not in families]
    dead = lost or [each for each in connections if each.outcome != "open"]
    if not opened or not dead:
        return None
    first = dead[0]
    code = codes.CONTROL_ADDRESS_FAMILY if lost else codes.CONTROL_DEAD_ADDRESS
    message = f"the control host answers by {opened[0].family} and not by {first.family}: {said}"
    if not lost:
        message = f"the control host answers at {opened[0].address} and not at {first.address}: {said}"
    waits = (
        "must wait for it to time out" if any(each.outcome == "timeout" for each in dead) else "fails, or loses time"
    )
    message += f"; a client that tries the dead address first {waits}"
    by_owner = by_hand(
        f"Take {first.address} out of the control host's records, or make the control plane listen there "
        f"(--bind {first.place}).",
        where="control host",
    )
    decided = DeathFacts(answered_address=first.address)
    return Finding(code, message, _less(host, dead, by_file) or by_owner, decided, "connect")


def _less(host: str, dead: Sequence[Connection], by_file: Collection[str]) -> Remedies:
    """Take the dead addresses away, if they are in this node's own file."""
    if not {each.address for each in dead} <= set(by_file):
        return ()
    fixes = [heal(partial(HostsNameLess, host=host, address=each.address)) for each in dead]
    return tuple(remedy for remedies in fixes for remedy in remedies)
