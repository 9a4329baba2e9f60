"""What is true of a fault on a set-up, and how near a report comes to it; pure, and apart from every check.

`expected` of a fault is written from what the fault does, never from what a check says about it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from preflight.lab.network import Network

Way = Literal["packet", "request", "token", "posture"]
"""The ways of a report, and for what dies nowhere: `posture`."""
Host = Literal["sender", "network", "forwarder", "receiver"]
Word = str | int
Healer = Literal["command", "file", "nothing"]
"""What can heal a fault: a command, a line in a file, or neither (a person at a console, a new token, a new router)."""
Where = Literal["node", "peer", "control host", "product console", "router"]
Grade = Literal["right", "vague", "wrong"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something dies: a station of a way, as `ways` of a report name it, and at which host of the way."""

    way: Way
    station: str
    host: Host = "sender"

    def __str__(self) -> str:
        """As scores show it."""
        return f"{self.way}:{self.station}@{self.host}" if self.way == "packet" else f"{self.way}:{self.station}"


STATIONS: Mapping[Way, tuple[str, ...]] = {
    "packet": (
        *("address", "route", "filter-out", "post-out", "egress", "tunnel", "session"),
        *("route-outer", "filter-outer", "post-outer", "neighbour", "egress-outer", "wire", "network"),
        *("prerouting-outer", "rp-outer", "input-outer", "socket-outer"),
        *("prerouting", "rp", "input", "socket", "forward"),
    ),
    "request": (
        *("source", "parse", "name", "route", "connect", "proxy", "tls", "server"),
        *("bearer", "scope", "body", "answer"),
    ),
    "token": ("token",),
    "posture": ("posture", "nodes", "host", "run"),
}
"""The stations of each way in their order; a station that a way's two ends share is listed once. Where nothing dies,
the station is the area of the code."""

FIELDS: Mapping[str, str] = {
    "rule_handle": "the firewall rule that drops or rewrites, by its handle",
    "chain": "the chain that drops, as `table chain`, by its policy or by a rule of iptables-legacy (without handles)",
    "route_type": "what a route is: unicast, blackhole, unreachable, prohibit, none",
    "gateway": "the gateway of the route that counts",
    "interface": "the device that counts",
    "source": "the address that packets leave with",
    "address": "the overlay address that counts",
    "offender": "the host that sent an ICMP error",
    "answered_from": "the address that answers come from",
    "endpoint": "the address to which the tunnel sends, as host:port",
    "port": "the port that counts",
    "public_key": "the tunnel's peer that counts",
    "mismatch": "what the two ends of a session do not share: public key, preshared key, certificate",
    "neighbour": "the address of a neighbour that does not answer",
    "sysctl": "the kernel's setting that counts",
    "packet_class": "which of a tunnel's packets die: handshake, data, large",
    "mtu_bytes": "the largest packet that passes",
    "file": "the file that is wrong",
    "variable": "the environment variable that counts",
    "problem": "what is wrong with a URL, a token, an answer or a name, in a word or two",
    "resolver": "the resolver that counts",
    "asked_name": "the name that was really asked and answered",
    "answered_address": "the address that a name led to",
    "http_status": "the status of the answer that counts",
    "server": "who answers in the place of the control plane",
    "location": "where a redirect leads, without the path that was asked for",
    "certificate": "the name or issuer of the certificate that counts",
    "scope_id": "the scope id that this node sends",
    "node_id": "the node of the cluster's list that counts",
}
"""The fields of facts that decide, and what each holds. Facts of checks use these names."""


SYMPTOMS = frozenset(
    (
        *("reach.unreachable", "reach.no-forward", "reach.no-reverse"),
        *("overlay.no-handshake", "host.firewall-drop", "udp.blocked"),
    )
)
"""Codes of what dies, which do not say why: without a place and a deciding fact nobody knows what heals it."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """The observation that decides: the field of a fact, and its value here.

    value: what the field holds; a function where only the network that was built has it, such as a rule's handle. The
    sentence of the cause must contain it.
    """

    field: str
    value: "Word | Callable[[Network], Word]"

    def resolved(self, network: "Network | None") -> "Deciding":
        """With the value in this network. Raises LabError if the network does not hold it any more."""
        return replace(self, value=self.value(network)) if callable(self.value) and network is not None else self


@dataclass(frozen=True, slots=True)
class Truth:
    """The narrowest cause that this node can prove.

    target: `node`, `control`, or a peer. direction: None where a code has only one. place: None where nothing dies
    (loss, posture, warnings). deciding: None where the code says it all. heals, where: what heals it, and on which
    machine: `node`, `peer`, `control host`, `product console` or `router`.
    vague: codes that are true too, and say less. warns: it stops nothing, so the run ends with exit code 0.
    undecided: nothing is broken, and something cannot be measured, so the run ends with exit code 3.
    """

    code: str
    target: str
    direction: str | None = None
    place: Place | None = None
    deciding: Deciding | None = None
    heals: Healer = "nothing"
    where: Where = "node"
    vague: tuple[str, ...] = ()
    warns: bool = False
    undecided: bool = False

    @property
    def healable(self) -> bool:
        """Whether a command or a file heals it, and those who observe here can know which.

        What dies at a place that nobody here can see, for a reason that nobody here can know, leaves an honest report
        without a fix. Where b's responder observes, the same fault has its place, and counts.
        """
        unknown = self.code in SYMPTOMS and self.place is None and self.deciding is None
        return self.heals != "nothing" and not unknown

    def resolved(self, network: "Network | None") -> "Truth":
        """With what only the network that was built has."""
        return self if self.deciding is None else replace(self, deciding=self.deciding.resolved(network))


@dataclass(frozen=True, slots=True)
class Judgement:
    """How good a report is. lacks: what its causes do not say. alarms: codes of what nothing here causes."""

    grade: Grade
    lacks: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    got: str = "nothing"

    @property
    def right(self) -> bool:
        """Whether nothing is missing and nothing is false."""
        return self.grade == "right"

    @property
    def symptom(self) -> tuple[str, str, tuple[str, ...]]:
        """What is wrong, without what depends on the set-up: equal for two runs that fail for the same reason."""
        return (self.grade, self.got, self.alarms)


_BAD = ("fail", "warn", "error")


def judge(
    truths: Sequence[Truth],
    report: Mapping[str, Any],
    *,
    silent: frozenset[str] = frozenset(),
    any_order: bool = False,
) -> Judgement:
    """Compare a report with what is true: each truth must be a cause, the deepest first, and nothing else may be bad.

    silent: codes of results that this set-up gives without any fault, such as `run.needs-responder`. any_order: none of
    them is deeper than the others.
    """
    causes = [cause for cause in report["diagnosis"] if cause["code"] not in silent]
    orders = permutations(truths) if any_order else [tuple(truths)]
    worst, missing = min((_named(order, causes, report) for order in orders), key=lambda each: _ORDER.index(each[0]))
    lacks = [*_exit_code(truths, report, silent), *missing]
    if len(lacks) > len(missing):
        worst = "wrong"
    alarms = _alarms(causes[: len(truths)], causes[len(truths) :], report, silent)
    if alarms:
        worst = "wrong"
    got = ", ".join(_shown(cause) for cause in causes) or "nothing"
    return Judgement(worst, tuple(lacks), alarms, got)


def _exit_code(truths: Sequence[Truth], report: Mapping[str, Any], silent: frozenset[str]) -> list[str]:
    broken = any(not (truth.warns or truth.undecided) for truth in truths)
    # What cannot be decided ends a run with 3, unless something is broken.
    undecided = any(truth.undecided for truth in truths)
    fitting = (1,) if broken else (3,) if undecided else (0, 3) if silent else (0,)
    ended = report["run"]["exit_code"]
    return [] if ended in fitting else [f"exit code {fitting[0]}, not {ended}"]


_ORDER: tuple[Grade, ...] = ("right", "vague", "wrong")


def _named(
    truths: Sequence[Truth], causes: Sequence[Mapping[str, Any]], report: Mapping[str, Any]
) -> tuple[Grade, list[str]]:
    """How good the causes are, one for each truth in this order, and what they lack."""
    worst: Grade = "right"
    lacks: list[str] = []
    for truth, cause in zip(truths, causes, strict=False):
        grade, missing = _compare(truth, cause, report)
        worst = max(worst, grade, key=_ORDER.index)
        lacks += missing
    unnamed = truths[len(causes) :]
    return ("wrong" if unnamed else worst), [*lacks, *(f"no cause {truth.code}" for truth in unnamed)]


def _shown(cause: Mapping[str, Any]) -> str:
    return f"{cause['code']} {cause['target']} {cause['direction']}"


def _compare(truth: Truth, cause: Mapping[str, Any], report: Mapping[str, Any]) -> tuple[Grade, list[str]]:
    """What one cause lacks. Another code is wrong, unless it is true and only says less."""
    if cause["code"] != truth.code:
        return ("vague" if cause["code"] in truth.vague else "wrong"), [f"code {truth.code}"]
    lacks = []
    if cause["target"] != truth.target:
        return "wrong", [f"target {truth.target}"]
    if truth.direction not in (None, cause["direction"]):
        if cause["direction"] not in ("round-trip", "local"):
            return "wrong", [f"direction {truth.direction}"]
        lacks.append(f"direction {truth.direction}")
    if truth.place is not None and not _is_at(truth.place, cause, report):
        lacks.append(f"place {truth.place}")
    if truth.deciding is not None:
        lacks += _decided(truth.deciding, cause, report)
    return ("vague" if lacks else "right"), lacks


def _is_at(place: Place, cause: Mapping[str, Any], report: Mapping[str, Any]) -> bool:
    found = cause.get("place")
    if found is None:
        return False
    ways = {way["id"]: way for way in report.get("ways", ())}
    way = ways.get(found["way"], {})
    hosts = [station["host"] for station in way.get("stations", ()) if station["id"] == found["station"]]
    # A way of a packet may have the same station at its two ends.
    same_host = place.way != "packet" or any(place.host == str(host).partition(" ")[0] for host in hosts)
    return bool(way.get("kind") == place.way and found["station"] == place.station and same_host)


def _decided(deciding: Deciding, cause: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Whether the deciding field has its value in a result behind the cause, and whether the sentence prints it."""
    explained = set(cause["explains"])
    about = [result for result in report["results"] if result["id"] in explained and result["code"] == cause["code"]]
    held = [result["measurements"][deciding.field] for result in about if deciding.field in result["measurements"]]
    values = [each for value in held for each in (value if isinstance(value, list) else [value])]
    if str(deciding.value) not in map(str, values):
        return [f"{deciding.field} {deciding.value}"]
    return [] if str(deciding.value) in cause["message"] else [f"{deciding.field} in the sentence"]


def _alarms(
    causes: Sequence[Mapping[str, Any]],
    further: Sequence[Mapping[str, Any]],
    report: Mapping[str, Any],
    silent: frozenset[str],
) -> tuple[str, ...]:
    """Codes of further causes, and of bad results that none of the first causes explains."""
    explained = {id for cause in causes for id in cause["explains"]}
    bad = [result for result in report["results"] if result["status"] in _BAD]
    codes = [result["code"] for result in bad if result["id"] not in explained and result["code"] not in silent]
    return tuple(dict.fromkeys([*(cause["code"] for cause in further), *codes]))
