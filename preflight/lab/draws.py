"""Draws: a set-up and what is wrong with it, from a seed alone; pure.

The draw number N of a seed is the same whatever is drawn before it, on every machine and with any number of jobs.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import count as counting

from preflight.lab.axes.axis import Axis
from preflight.lab.axes.rules import broken_rule
from preflight.lab.axes.setup import AXES, Setup
from preflight.lab.pairs import hidden, may_meet
from preflight.lab.part import Part
from preflight.lab.stations.catalogue import FAULTS
from preflight.lab.stations.fault import Fault
from preflight.lab.truth import Truth

HEALTHY = 0.25
"""The share of draws without a fault."""
TWO = 0.15
"""The share of the others with two faults."""
PLAIN = 0.6
"""How often an axis keeps its plain value: real set-ups differ from the plain one in a handful of ways."""
_TRIES = 200
_CHOICES = 20
"""How often faults are chosen before a draw gives up."""
_CANDIDATES = 60


@dataclass(frozen=True, slots=True)
class Draw:
    """A set-up and its faults, the deepest first; none: it is healthy."""

    setup: Setup
    faults: tuple[str, ...] = ()

    def made(self) -> tuple[Fault, ...]:
        """The faults themselves."""
        return tuple(FAULTS[name] for name in self.faults)

    def parts(self) -> tuple[Part, ...]:
        """How it is built: its set-up, then what is broken in it."""
        return (*self.setup.parts(), *(part for fault in self.made() for part in fault.made(self.setup)))

    def truths(self) -> tuple[Truth, ...]:
        """What is true of it, in the order of repair.

        Where no request gets through, no report of b comes by the mailbox either, as if there were no control plane.
        """
        told = self.setup
        if any(_stops_requests(fault, self.setup) for fault in self.made()):
            told = replace(told, control="none")
        return tuple(fault.expected(told if fault.place.way == "packet" else self.setup) for fault in self.made())

    def silent(self) -> frozenset[str]:
        """Codes that a run gives here although neither the set-up nor a fault breaks anything by them.

        Where neither the control plane nor b's responder answers, no other clock confirms this node's.
        """
        given, made = self.setup.silent(), self.made()
        alone = any(_stops_requests(fault, self.setup) for fault in made) and any(map(_stops_responder, made))
        return given | {"run.no-answer"} if alone else given

    def impossible(self) -> str | None:
        """Why it cannot exist; None if it can."""
        rule = broken_rule(self.setup)
        reasons = (rule.why if rule else None, *(self._excluded(fault) for fault in self.made()), self._hidden())
        return next(filter(None, reasons), None)

    def _excluded(self, fault: Fault) -> str | None:
        """Why one of its faults cannot exist on its set-up."""
        if self.setup.control == "none" and fault.place.way in ("request", "token"):
            return "there is no control plane to ask"
        return fault.excluded(self.setup)

    def _hidden(self) -> str | None:
        """Why nobody could see the second of two faults."""
        return None if len(self.faults) < 2 else hidden(self.setup, *self.made())

    @property
    def healable(self) -> bool:
        """Whether a command or a file heals all of it, and those who observe there can know which."""
        return all(truth.healable for truth in self.truths())

    @property
    def any_order(self) -> bool:
        """Whether none of its faults is deeper: they strike packets two ways or to two peers, or one stops nothing.

        What only warns, or leaves something undecided, need not be repaired before anything else.
        """
        packets = {fault.place.way for fault in self.made()} == {"packet"}
        return len(self.faults) > 1 and (packets or any(map(_stops_nothing, self.truths())))

    @property
    def name(self) -> str:
        """A short name for files and labs: equal draws have equal names."""
        return "-".join([*self.faults, self.setup.digest()] if self.faults else ["healthy", self.setup.digest()])

    def __str__(self) -> str:
        """As scores show it."""
        return f"{' + '.join(self.faults) or 'healthy'} on {self.setup}"


_BEFORE_THE_ANSWER = ("source", "parse", "name", "connect", "proxy", "tls", "server", "bearer")
"""Stations of a request at which all requests die: without a URL, a connection, the right server or a bearer."""


def _stops_nothing(truth: Truth) -> bool:
    return truth.warns or truth.undecided


def _stops_requests(fault: Fault, setup: Setup) -> bool:
    """Whether it leaves a without any answer of the control plane, or without one to a bearer.

    In clear none is sent on a way outside the overlay, and a mailbox is read with one.
    """
    place = fault.place
    stations = _BEFORE_THE_ANSWER if setup.transport == "tls" else (*_BEFORE_THE_ANSWER, "route")
    return place.way == "request" and place.station in stations and not fault.expected(setup).warns


def _stops_responder(fault: Fault) -> bool:
    return (fault.place.way, fault.place.station) == ("packet", "socket")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is drawn from. only: globs of fault names and `healthy`; virtual_machine: values that need `--vm` too."""

    only: tuple[str, ...] = ()
    virtual_machine: bool = False

    def faults(self) -> list[str]:
        """The faults that may be drawn."""
        return [name for name in FAULTS if not self.only or any(fnmatchcase(name, glob) for glob in self.only)]

    def healthy(self) -> bool:
        """Whether healthy set-ups are drawn."""
        return not self.only or any(fnmatchcase("healthy", glob) for glob in self.only)


def draw(seed: int, number: int, wanted: Wanted = Wanted()) -> Draw:
    """The draw with this number. Raises ValueError if nothing fits what is wanted."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 - a draw, not a secret
    names = wanted.faults()
    healthy = wanted.healthy() and (not names or chance.random() < HEALTHY)
    for _ in range(_CHOICES):
        chosen = () if healthy else _some_faults(chance, names)
        # Other set-ups before another fault, or one that few set-ups can have would hardly be drawn.
        drawn = (Draw(_some_setup(chance, wanted), chosen) for _ in range(_TRIES))
        possible = next((each for each in drawn if each.impossible() is None), None)
        if possible is not None:
            return possible
    raise ValueError(f"nothing that fits {' '.join(wanted.only) or 'all rules'} was drawn in {_CHOICES * _TRIES} tries")


def draws(seed: int, count: int | None, wanted: Wanted = Wanted()) -> Iterator[Draw]:
    """The first draws of a seed; without a count they never end. Raises ValueError as `draw` does."""
    return (draw(seed, number, wanted) for number in (counting() if count is None else range(count)))


def cover(seed: int, times: int, wanted: Wanted = Wanted()) -> Iterator[Draw]:
    """Draws in which each fault meets each value of each axis that it can meet, at least `times` times."""
    chance = random.Random(f"{seed}/cover")  # noqa: S311 - a draw, not a secret
    healthy: list[tuple[str, ...]] = [()] if wanted.healthy() else []
    for faults in [*((name,) for name in wanted.faults()), *healthy]:
        met: Counter[tuple[str, str]] = Counter()
        while fullest := _fullest(chance, faults, met, times, wanted):
            met.update(met_by(fullest.setup))
            yield fullest


def met_by(setup: Setup) -> list[tuple[str, str]]:
    """Each axis with its value here."""
    return [(axis, setup[axis]) for axis in AXES]


def _fullest(
    chance: random.Random, faults: tuple[str, ...], met: Counter[tuple[str, str]], times: int, wanted: Wanted
) -> Draw | None:
    """Of some random set-ups the one with the most values that were not met often enough; None if none has any."""
    every = [(name, value) for name, axis in AXES.items() for value in _values(axis, wanted)]
    rare = [pair for pair in every if met[pair] < times]
    if not rare:
        return None
    some = (Draw(_some_setup(chance, wanted, 0.2, chance.choice(rare)), faults) for _ in range(_CANDIDATES))
    scored = [
        (sum(met[pair] < times for pair in met_by(each.setup)), number, each)
        for number, each in enumerate(some)
        if each.impossible() is None
    ]
    missing, _, best = max(scored, default=(0, 0, None))
    return best if missing else None


def _some_faults(chance: random.Random, names: Sequence[str]) -> tuple[str, ...]:
    """One fault or two."""
    if not names:
        raise ValueError("no fault has such a name")
    first = _one_fault(chance, names)
    if chance.random() >= TWO or FAULTS[first].alone:
        return (first,)
    others = [name for name in names if may_meet(FAULTS[first], FAULTS[name])]
    if not others:
        return (first,)
    return tuple(sorted((first, _one_fault(chance, others)), key=list(FAULTS).index))


def _one_fault(chance: random.Random, names: Sequence[str]) -> str:
    # A station first: one with many faults is not drawn more often than another.
    by_place: dict[str, list[str]] = {}
    for name in names:
        by_place.setdefault(str(FAULTS[name].place), []).append(name)
    return chance.choice(by_place[chance.choice(list(by_place))])


def _some_setup(
    chance: random.Random, wanted: Wanted, plain: float = PLAIN, kept: tuple[str, str] | None = None
) -> Setup:
    """A value of each axis; where some do not fit together, one of those is drawn again. kept: an axis and its value,
    which is not.
    """
    values = {name: _values(axis, wanted) for name, axis in AXES.items()}
    chosen = {name: AXES[name].plain if chance.random() < plain else chance.choice(values[name]) for name in AXES}
    chosen |= dict([kept]) if kept else {}
    for _ in range(_TRIES):
        rule = broken_rule(Setup.of(chosen))
        if rule is None:
            break
        again = chance.choice([name for name in rule.where if kept is None or name != kept[0]])
        chosen[again] = chance.choice(values[again])
    return Setup.of(chosen)


def _values(axis: Axis, wanted: Wanted) -> list[str]:
    return [key for key, value in axis.values.items() if wanted.virtual_machine or not value.virtual_machine]


def simpler(drawn: Draw) -> Iterator[Draw]:
    """Possible draws with one thing less: without one of two faults, then with the plain value of one axis."""
    less = [Draw(drawn.setup, (name,)) for name in drawn.faults if len(drawn.faults) > 1]
    less += [Draw(drawn.setup.with_plain(axis), drawn.faults) for axis in drawn.setup.changed()]
    return (each for each in less if each.impossible() is None)


def definition(drawn: Draw) -> Mapping[str, object]:
    """The draw as the content of a scenario file."""
    setup = drawn.setup.changed()
    return {**({"setup": setup} if setup else {}), **({"faults": list(drawn.faults)} if drawn.faults else {})}
