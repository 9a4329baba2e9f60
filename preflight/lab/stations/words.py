"""What the observers of a set-up can prove: who sees where packets die, and whose report gets to a.

A fault says what is true through these, so that a set-up without a responder, or without root, expects less.
"""

from preflight.lab.axes.setup import Setup
from preflight.lab.truth import Deciding, Healer, Place, Truth, Where

UNREACHABLE, NO_FORWARD, NO_REVERSE = "reach.unreachable", "reach.no-forward", "reach.no-reverse"


def told(setup: Setup) -> bool:
    """Whether b's report gets to a although b's packets do not: by the mailbox of a control plane that is not at b."""
    return setup.responder == "key" and setup.home == "third" and setup.control != "none"


def heard(setup: Setup) -> bool:
    """Whether b's report gets to a while only the way from a to b is dead: by the mailbox or by hellos."""
    return setup.responder == "key"


def without_uplink(setup: Setup) -> str | None:
    """For faults that send a's overlay packets to its uplink."""
    return "a container has no uplink" if setup.namespace == "container" else None


def silence(setup: Setup, direction: str, heals: Healer = "command", where: Where = "peer") -> Truth:
    """Nobody sees where packets die; b's report still says in which direction, if it gets to a."""
    if direction == "forward" and heard(setup):
        return _truth(NO_FORWARD, "forward", heals=heals, where=where)
    if direction == "reverse" and told(setup):
        return _truth(NO_REVERSE, "reverse", heals=heals, where=where)
    return _truth(UNREACHABLE, "round-trip", heals=heals, where=where)


def here(
    setup: Setup,
    code: str,
    station: str,
    *,
    deciding: Deciding | None = None,
    privileged: bool = False,
    vague: tuple[str, ...] = (),
) -> Truth:
    """What a sends dies at a. privileged: only root sees it there."""
    if privileged and setup.user != "root":
        return silence(setup, "forward", where="node")
    place = Place("packet", station, "sender")
    return _truth(code, "forward", place=place, deciding=deciding, where="node", vague=vague)


def arrives_here(
    setup: Setup,
    code: str,
    station: str,
    *,
    deciding: Deciding | None = None,
    vague: tuple[str, ...] = (),
) -> Truth:
    """What b answers comes to a and dies at a: the tap on a's tunnel shows it, and a tap needs root."""
    if setup.user != "root":
        return silence(setup, "reverse", where="node")
    place = Place("packet", station, "receiver")
    return _truth(code, "reverse", place=place, deciding=deciding, where="node", vague=vague)


def there(setup: Setup, station: str, *, code: str = NO_FORWARD, deciding: Deciding | None = None) -> Truth:
    """What a sends dies at b, which only b sees."""
    if not heard(setup):
        return silence(setup, "forward")
    return _truth(code, "forward", place=Place("packet", station, "receiver"), deciding=deciding, where="peer")


def answers_there(setup: Setup, station: str, *, code: str = NO_REVERSE, deciding: Deciding | None = None) -> Truth:
    """What b answers dies at b, which only b sees."""
    if not told(setup):
        return silence(setup, "reverse")
    return _truth(code, "reverse", place=Place("packet", station, "sender"), deciding=deciding, where="peer")


def _truth(
    code: str,
    direction: str,
    *,
    where: Where,
    place: Place | None = None,
    deciding: Deciding | None = None,
    heals: Healer = "command",
    vague: tuple[str, ...] = (),
) -> Truth:
    less = {"forward": (UNREACHABLE, NO_FORWARD), "reverse": (UNREACHABLE, NO_REVERSE)}.get(direction, ())
    others = tuple(each for each in (*less, *vague) if each != code)
    return Truth(code, "b", direction, place=place, deciding=deciding, heals=heals, where=where, vague=others)
