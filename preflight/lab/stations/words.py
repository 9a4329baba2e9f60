"""What the observers of a set-up can prove: who sees where packets die, and whose report gets to a.

A fault says what is true through these, so that a set-up without a responder, or without root, expects less.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from preflight.lab.axes.setup import Setup
from preflight.lab.stations.outside import Dead, through_a_third
from preflight.lab.truth import Deciding, Healer, Place, Truth, Where

UNREACHABLE, NO_FORWARD, NO_REVERSE = "reach.unreachable", "reach.no-forward", "reach.no-reverse"
UDP_BLOCKED = "udp.blocked"
_CODES: Mapping[Dead, str] = {"forward": NO_FORWARD, "reverse": NO_REVERSE, "round-trip": UNREACHABLE}


def told(setup: Setup, *, outer: bool = False) -> bool:
    """Whether b's report gets to a although b's packets do not: by the mailbox of a control plane that is not at b.

    outer: it is the tunnel's own packets that die, so a mailbox behind the same end of the tunnel is dead too.
    """
    # The control plane vouches for who writes to a mailbox: a key is needed for packets of the responder alone.
    runs = setup.keyed or setup.responder == "keyless"
    asked = setup.home in ("third", "behind") and setup.control != "none"
    return runs and asked and not (outer and through_a_third(setup))


def observed(setup: Setup, *, outer: bool = False) -> bool:
    """Whether b's report has what its own observers see, and gets to a."""
    return setup.responder == "observing" and told(setup, outer=outer)


def heard(setup: Setup, *, outer: bool = False) -> bool:
    """Whether b's report gets to a while only the way from a to b is dead: by the mailbox or by hellos.

    Hellos come to a port that only root may bind. outer: as for `told`.
    """
    return told(setup, outer=outer) or (setup.keyed and setup.user == "root")


def _is_known(setup: Setup, direction: Dead, *, outer: bool) -> bool:
    """Whether a can know in which direction packets die."""
    if direction == "round-trip":
        return True
    return heard(setup, outer=outer) if direction == "forward" else told(setup, outer=outer)


def without_uplink(setup: Setup) -> str | None:
    """For faults that send a's overlay packets to its uplink."""
    return "a container has no uplink" if setup.namespace == "container" else None


def silence(setup: Setup, direction: Dead, heals: Healer = "command", where: Where = "peer") -> Truth:
    """Nobody sees where packets die; b's report still says in which direction, if it gets to a."""
    known = _is_known(setup, direction, outer=False)
    return _dead(direction if known else "round-trip", heals=heals, where=where)


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


def there(
    setup: Setup, station: str, *, code: str = NO_FORWARD, deciding: Deciding | None = None, reported: bool = False
) -> Truth:
    """What a sends dies at b. Where and why only b's observers see; without them nothing says how far it came.

    reported: a plain report of b's responder says it too.
    """
    if not heard(setup) or (reported and not told(setup)):
        return silence(setup, "forward")
    if not observed(setup) and not reported:
        return _truth(code, "forward", where="peer")
    return _truth(code, "forward", place=Place("packet", station, "receiver"), deciding=deciding, where="peer")


def udp_there(setup: Setup, station: str, deciding: Deciding | None = None) -> Truth:
    """What a sends by UDP dies at b, and echoes pass. As `there`, but a mailbox at b itself is reached.

    Without b's word, ports that nobody uses show it. Whether b's responder runs stays open, so the run is undecided.
    """
    if heard(setup):
        return there(setup, station, code=UDP_BLOCKED, deciding=deciding)
    if setup.control != "none":
        return _truth(UDP_BLOCKED, "forward", where="peer")
    less = (UNREACHABLE, "run.needs-responder")
    return Truth(UDP_BLOCKED, "b", "round-trip", heals="command", where="peer", vague=less, undecided=True)


def udp_back(setup: Setup) -> Truth:
    """b's UDP dies at a, where only root would see it, and echoes pass: b's report says so, if it gets to a.

    Without it a sees a port that is silent, and a host that is reached: the run is undecided.
    """
    if setup.control != "none":
        return _truth(UDP_BLOCKED, "reverse", where="node")
    return Truth("run.needs-responder", "b", "round-trip", where="node", undecided=True)


def answers_there(
    setup: Setup, station: str, *, code: str = NO_REVERSE, deciding: Deciding | None = None, reported: bool = False
) -> Truth:
    """What b answers dies at b; as `there`."""
    if not told(setup):
        return silence(setup, "reverse")
    if not observed(setup) and not reported:
        return _truth(code, "reverse", where="peer")
    return _truth(code, "reverse", place=Place("packet", station, "sender"), deciding=deciding, where="peer")


# The tunnel's own packets


def watches_outside(setup: Setup) -> bool:
    """Whether a sees its tunnel's own packets, and the errors about them: not those of another namespace."""
    return setup.user == "root" and setup.namespace != "container"


def dead(
    setup: Setup,
    direction: Dead,
    *,
    place: Place | None = None,
    deciding: Deciding | None = None,
    proven: bool = False,
    public: bool = False,
    heals: Healer = "command",
    where: Where = "node",
) -> Truth:
    """Nothing passes in a session that was alive.

    place: None where the last observation before the death and the first one behind it leave several stations.
    proven: a sees the death itself, so the direction does not depend on b's word. public: not only root sees it.
    """
    if not public and not watches_outside(setup):
        place, deciding, proven = None, None, False
    known = proven or _is_known(setup, direction, outer=True)
    return _dead(direction if known else "round-trip", place=place, deciding=deciding, heals=heals, where=where)


def never_up(
    setup: Setup,
    *,
    direction: Dead | None = None,
    place: Place | None = None,
    deciding: Deciding | None = None,
    heals: Healer = "command",
    where: Where = "node",
) -> Truth:
    """The tunnel never came up. direction: only where a sees the peer's own calls, or its own refusal."""
    if setup.user != "root":
        return dead(setup, "round-trip", heals=heals, where=where)  # only root sees what a tunnel has received
    if not watches_outside(setup):
        place, deciding = None, None
    return Truth(
        "overlay.no-handshake",
        "b",
        direction,
        place=place,
        deciding=deciding,
        heals=heals,
        where=where,
        vague=(UNREACHABLE,),
    )


def at_sender(
    setup: Setup,
    node: str,
    station: str,
    deciding: Deciding | None = None,
    *,
    everything: bool = False,
    public: bool = False,
) -> Truth:
    """What a node's tunnel sends dies at its own station: a sees that here, and at b only what b's responder reports.

    everything: its packets to all others die too, so that b cannot report, or a not read it. public: not only root sees
    it at a.
    """
    if node == "a":
        place = Place("packet", station)
        # What dies on its way to everyone keeps b's word from a too: then only who sees it here knows the direction.
        direction: Dead = "round-trip" if everything and not (public or watches_outside(setup)) else "forward"
        return dead(setup, direction, place=place, deciding=deciding, proven=True, public=public)
    there = Place("packet", station) if observed(setup, outer=True) and not everything else None
    return dead(setup, "round-trip" if everything else "reverse", place=there, public=True, where="peer")


def at_receiver(setup: Setup, node: str, station: str, deciding: Deciding | None = None) -> Truth:
    """What comes to a node's tunnel dies at its own station: a sees that here, and at b only that nothing arrived."""
    if node == "a":
        place = Place("packet", station, "receiver")
        return dead(setup, "reverse", place=place, deciding=deciding, proven=True)
    there = Place("packet", station, "receiver") if observed(setup, outer=True) else None
    return dead(setup, "forward", place=there, public=True, where="peer")


def by_own_rule(setup: Setup, node: str, truth: Truth, code: str = "host.firewall-drop") -> Truth:
    """The same death where a's own rule or setting does it, which only root sees."""
    if node != "a" or setup.user != "root":
        return truth
    return replace(truth, code=code, vague=(UNREACHABLE, truth.code))


# Requests


def at_control_host(
    place: Place,
    code: str,
    deciding: Deciding | None = None,
    *vague: str,
    heals: Healer = "nothing",
    warns: bool = False,
) -> Callable[[Setup], Truth]:
    """What is wrong at the control host is corrected there. warns: nothing dies."""
    truth = Truth(
        code,
        "control",
        place=None if warns else place,
        deciding=deciding,
        heals=heals,
        where="control host",
        vague=vague,
        warns=warns,
    )
    return lambda setup: truth


def _dead(
    direction: Dead,
    *,
    heals: Healer,
    where: Where,
    place: Place | None = None,
    deciding: Deciding | None = None,
) -> Truth:
    return _truth(_CODES[direction], direction, place=place, deciding=deciding, heals=heals, where=where)


def _truth(
    code: str,
    direction: Dead,
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
