"""Sessions of OpenVPN that end again and again, by the lines of a log with their times: pure.

Without `duplicate-cn` a server ends the session of a client whose name connects once more, and says so to neither: the
one that was dropped waits for `ping-restart`, connects, and drops the other.
"""

import re
from calendar import timegm
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

_LINE: Final = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:us=\d+ )?(.*)$")
_RESTART: Final = re.compile(r"\bping-restart (\d+)")
_TWICE: Final = re.compile(r"^MULTI: new connection by client '(.+)' will cause previous active sessions")
_FROM: Final = re.compile(r"^([^/\s]+)/(?:\[AF_INET6?\])?(\S+):\d+ ")
USUAL_RESTART_S: Final = 120.0
TIMES: Final = 3
RECENT_S: Final = 900.0
_SLACK_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Lost:
    """How often a client lost its session, and after how many seconds at most."""

    times: int
    lasted_s: float


def comes_and_goes(lines: Iterable[str], now_s: float) -> Lost | None:
    """What a client's log shows if each of its last sessions ended because nothing came; None if not.

    now_s: this node's local time, as `twins` takes it. A node that sleeps, or a server that starts again, ends one
    session now and then: these end soon after they began, one behind the other, up to now.
    """
    connected_s: float | None = None
    restart_s, ended = USUAL_RESTART_S, list[tuple[float, float]]()
    for at_s, line in _timed(lines):
        if (found := _RESTART.search(line)) is not None:
            restart_s = float(found[1])
        if "Initialization Sequence Completed" in line:
            connected_s = at_s
        elif "SIGUSR1[soft,ping-restart] received" in line and connected_s is not None:
            ended.append((at_s, at_s - connected_s))
            connected_s = None
        elif "process exiting" in line:
            ended.clear()
    last, most_s = ended[-TIMES:], 3 * restart_s + _SLACK_S
    near = [*(at_s for at_s, _ in last), now_s]
    steady = all(0 <= later - earlier <= most_s for earlier, later in pairwise(near))
    if len(last) < TIMES or not steady or any(lasted_s > most_s for _, lasted_s in last):
        return None
    return Lost(len(last), max(lasted_s for _, lasted_s in last))


@dataclass(frozen=True, slots=True)
class Twins:
    """A name that two clients have, and where they are, if the log shows two hosts."""

    name: str
    hosts: tuple[str, ...]


def twins(lines: Iterable[str], now_s: float) -> Twins | None:
    """Two clients of a server that have one certificate; None if its log shows none.

    now_s: this node's local time in seconds, counted as if it were UTC, as the log's times are.

    One that comes from another place for a while ends its own old session too, so it has to come back: from one host,
    from another one, and from the first again, or often in a short time where both are behind one address.
    """
    dropped, hosts = defaultdict[str, list[float]](list), defaultdict[str, list[str]](list)
    for at_s, line in _timed(lines):
        if now_s - at_s > RECENT_S:
            continue
        if (found := _TWICE.match(line)) is not None:
            dropped[found[1]].append(at_s)
        elif (found := _FROM.match(line)) is not None and hosts[found[1]][-1:] != [found[2]]:
            hosts[found[1]].append(found[2])
    for name, times in dropped.items():
        if len(times) >= TIMES and len(hosts[name]) > len(set(hosts[name])) > 1:
            return Twins(name, tuple(sorted(set(hosts[name]))))
        if len(times) > 2 * TIMES:
            return Twins(name, ())
    return None


def _timed(lines: Iterable[str]) -> Iterator[tuple[float, str]]:
    """Each line that has a time, in the local zone of the program, and what is behind it."""
    for line in lines:
        if (found := _LINE.match(line)) is not None:
            with suppress(ValueError):  # a day that does not exist
                yield timegm(datetime.fromisoformat(found[1]).timetuple()), found[2]
