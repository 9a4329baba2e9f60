"""How far an OpenVPN client has come, by the lines of its own log, and what keeps it from its remote end; pure."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address

_STAMP = re.compile(r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?:us=\d+ )?)?")
_REMOTE = re.compile(r"(?:link remote: |TCP connection with )\[AF_INET6?\](\S+)")
_OWN = re.compile(r"^WARNING: Your certificate (has expired|is not yet valid)!")
_ENDS = ("process exiting", "process restarting")
_UNMADE, _EXPIRED, _DENIED = "overlay.not-joined", "overlay.key-expired", "overlay.not-authorized"
_UNANSWERED, _DOWN = "overlay.offline", "overlay.daemon-down"
_OPTIONS = "Options error: "
_PUSHED = re.compile(r"^PUSH: Received control message: '([^']*)'")
_UNFINISHED = "its remote end{at} answers, and completes no session: it may not accept this node's certificate"
_TIMED_OUT = "TLS key negotiation failed to occur"

_REASONS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"^VERIFY ERROR: depth=0, error=(?P<error>[^:]+): (?P<who>.+?)(?:, serial=\S+)?$"),
        _UNMADE,
        "this node does not accept the certificate of its remote end{at} ({who}): {error}",
    ),
    (
        re.compile(r"^VERIFY ERROR: depth=[1-9]\d*, error=(?P<error>[^:]+): (?P<who>.+?)(?:, serial=\S+)?$"),
        _UNMADE,
        "this node does not accept an authority in the chain of its remote end{at} ({who}): {error}",
    ),
    (
        re.compile(r"^AUTH: Received control message: (?P<said>AUTH_FAILED.*)$"),
        _DENIED,
        "its remote end{at} refuses this node: {said}",
    ),
    (
        re.compile(r"packet HMAC authentication failed|tls-crypt unwrap error|cannot locate HMAC"),
        _UNMADE,
        "what comes from its remote end{at} does not fit this node's key (tls-auth, tls-crypt, secret), or its `auth`",
    ),
    (
        re.compile(r"^RESOLVE: Cannot resolve host address: (?P<name>\S+) \((?P<why>.+)\)$"),
        _UNANSWERED,
        "the name of its remote end is not found: {name} ({why})",
    ),
    (
        re.compile(r"\[ECONNREFUSED|failed: Connection refused"),
        _UNANSWERED,
        "the host of its remote end{at} refuses what it sends: nobody listens there by {proto}, or a filter is there",
    ),
    (
        re.compile(r"\[(?P<word>EHOSTUNREACH|ENETUNREACH)"),
        _UNANSWERED,
        "there is no way to its remote end{at} ({word})",
    ),
    (
        re.compile(r"^write .*Operation not permitted"),
        _UNANSWERED,
        "this node's own firewall lets out nothing of what it sends to its remote end{at}",
    ),
)


_GARBLED: tuple[tuple[str, str], ...] = (
    ("Bad LZO decompression header byte", "comp-lzo or compress is"),
    ("FRAG_IN error", "fragment is"),
    ("write to TUN/TAP : Invalid argument", "comp-lzo, compress or fragment is"),
)
"""What its log says of packets that are not framed as here, and the options that make it."""
_PLAIN = re.compile(r"^Bad LZO decompression header byte: (?:69|7\d|96)$")
"""The first byte of a packet of IPv4 (69 to 79) or IPv6, where a header of compression was expected."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why it is not connected. quiet: its remote end is not heard, of which traffic may show more than a log."""

    code: str
    said: str

    @property
    def quiet(self) -> bool:
        """Whether its remote end is not heard."""
        return self.code == _UNANSWERED


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it is. connected: None where the log does not reach back to its last try.

    answered: whether its remote end did in this try. own: what it says of its own certificate. inside: the addresses
    of its remote end in the tunnel, by what that pushes. plain: what comes is not compressed, and here it should be.
    pushes: whether its remote end sets how this end compresses.
    """

    connected: bool | None = None
    why: Verdict | None = None
    remote: str = ""
    answered: bool = False
    own: str = ""
    garbled: str = ""
    plain: bool = False
    pushes: bool = False
    inside: tuple[str, ...] = ()


def stage(lines: Iterable[str]) -> Stage:
    """From the log's last lines, oldest first."""
    at = Stage()
    for line in lines:
        at = _next(at, _STAMP.sub("", line, count=1))
    return at


def _next(at: Stage, line: str) -> Stage:
    if "Initialization Sequence Completed" in line:
        return Stage(connected=True, remote=at.remote, own=at.own, inside=at.inside, pushes=at.pushes)
    if any(each in line for each in _ENDS):
        if "ping-restart" in line and at.connected:
            quiet = f"nothing came from its remote end{_at(at)} for as long as ping-restart allows"
            at = replace(at, why=Verdict(_UNANSWERED, quiet))
        return replace(at, connected=False, answered=False)
    if (found := _REMOTE.search(line)) is not None:
        return replace(at, connected=False, remote=found[1], answered=False, inside=(), pushes=False)
    if (pushed := _PUSHED.match(line)) is not None:
        options = pushed[1].split(",")
        return replace(at, inside=(*at.inside, *_inside(options)), pushes=at.pushes or any(map(_compresses, options)))
    if line.startswith("TLS: Initial packet from"):
        return replace(at, answered=True, why=None)
    if line.startswith(_OPTIONS):
        return replace(at, connected=False, why=Verdict(_DOWN, f"it refuses its options: {line[len(_OPTIONS) :]}"))
    if (own := _OWN.match(line)) is not None:
        return replace(at, own=own[1])
    if at.connected:
        option = next((option for words, option in _GARBLED if line.startswith(words)), "")
        return replace(at, garbled=at.garbled or option, plain=at.plain or _PLAIN.match(line) is not None)
    return replace(at, why=_reason(at, line) or at.why)


def _compresses(option: str) -> bool:
    return option.split(" ")[0] in ("comp-lzo", "compress")


def _inside(options: Iterable[str]) -> Iterator[str]:
    """The addresses of the remote end among the options that it pushes.

    With a subnet it names itself as the gateway; with a small network for each client it gives a route to itself.
    """
    for words in map(str.split, options):
        named = words[1:2] if words[:1] == ["route-gateway"] or (words[:1] == ["route"] and len(words) == 2) else []
        for word in named or (words[2:3] if words[:1] == ["ifconfig-ipv6"] else []):
            with suppress(ValueError):  # `dhcp`, or a name
                yield str(ip_address(word))


def _reason(at: Stage, line: str) -> Verdict | None:
    if _TIMED_OUT in line:
        return _unfinished(at) if at.answered else Verdict(_UNANSWERED, f"its remote end{_at(at)} answers nothing")
    for pattern, code, words in _REASONS:
        if (found := pattern.search(line)) is not None:
            proto = "TCP" if line.startswith("TCP") else "UDP"
            return Verdict(code, words.format(at=_at(at), proto=proto, **found.groupdict()))
    return None


def _unfinished(at: Stage) -> Verdict:
    if at.own:
        ended = f"this node's certificate {at.own}, and its remote end{_at(at)} completes no session with it"
        return Verdict(_EXPIRED, ended)
    return Verdict(_UNMADE, _UNFINISHED.format(at=_at(at)))


def _at(at: Stage) -> str:
    return f" at {at.remote}" if at.remote else ""


def verdict(at: Stage) -> Verdict | None:
    """Why a client is not connected; None where nothing is wrong, or that is not known."""
    if at.connected is not False:
        return None
    if at.why is not None:
        return at.why
    return _unfinished(at) if at.answered else Verdict(_UNANSWERED, f"its remote end{_at(at)} has answered nothing yet")


def garbled(at: Stage) -> str | None:
    """Why nothing that comes through a session can be read; None where all can, as far as is known."""
    if not at.connected or not at.garbled:
        return None
    cannot = f"it cannot read what its remote end{_at(at)} sends"
    if at.plain and not at.pushes:
        return f"{cannot}: that is not compressed, and by comp-lzo or compress in its own configuration it should be"
    return f"{cannot}: {at.garbled} not the same on both ends"
