"""The clock and the reverse-path filter of this host, by the standard library alone: the responder in one file has it.

`preflight.net.kernel` hands both on to the rest of the program.
"""

import ctypes
import os
import sys
from pathlib import Path

from preflight.model.kernel import ClockState, NeedsPlatform, ReversePathFilter
from preflight.proto.stamp.wire import ErrorEstimate

SYSCTL = Path("/proc/sys/net/ipv4/conf")
NETSTAT = Path("/proc/thread-self/net/netstat")  # of this thread's namespace, where `/proc/net` is the process's

STA_UNSYNC = 0x0040
TIME_ERROR = 5


def needs_linux() -> None:
    """Raises NeedsPlatform on other systems."""
    if sys.platform != "linux":
        raise NeedsPlatform("this question to the kernel needs Linux")


def reverse_path_filter() -> ReversePathFilter:
    """The IPv4 reverse-path filter: per interface `max(all, interface)`, the rule of ip-sysctl."""
    needs_linux()
    modes = {path.parent.name: _number(path) for path in SYSCTL.glob("*/rp_filter")}
    common = modes.pop("all", 0)
    modes.pop("default", None)
    try:
        dropped = parse_netstat(NETSTAT.read_text(encoding="ascii")).get("IPReversePathFilter")
    except OSError:
        dropped = None
    return ReversePathFilter({name: max(common, mode) for name, mode in modes.items()}, dropped)


def clock() -> ClockState:
    """Whether something synchronises the kernel's clock (adjtimex, read-only: needs no privilege)."""
    needs_linux()
    timex = _Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    synchronised = state != TIME_ERROR and not timex.status & STA_UNSYNC
    return ClockState(synchronised, timex.esterror / 1000)


def clock_estimate() -> ErrorEstimate:
    """What this node's kernel thinks of its clock; unsynchronised if the kernel cannot be asked."""
    try:
        found = clock()
    except (NeedsPlatform, OSError):
        return ErrorEstimate()
    return ErrorEstimate(found.synchronised, found.estimated_error_ms / 1000)


class _Timex(ctypes.Structure):
    """The head of `struct timex` (adjtimex(2)); the kernel writes the rest into `rest`."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def parse_netstat(text: str) -> dict[str, int]:
    """The counters of `/proc/net/netstat`: pairs of lines, names above values. Unknown shapes give no counters."""
    lines = text.splitlines()
    counters: dict[str, int] = {}
    for names, values in map(_words, lines[::2], lines[1::2]):
        counters.update(map(_counter, names, values))
    return counters


def _words(names: str, values: str) -> tuple[list[str], list[str]]:
    return names.split()[1:], values.split()[1:]


def _counter(name: str, value: str) -> tuple[str, int]:
    return name, int(value)


def _number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # an interface that has just gone
        return 0
