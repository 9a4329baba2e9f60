"""Which classes of work belong on the measured paths: pure, from results to advice with its reasons.

The matrix is that of a personal cluster over an overlay: agent tasks and lease-gated inference are allowed, long
training is a pilot at most, collectives are out of scope. Measurements can only make an entry stricter.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from preflight.api import CONTROL, NODE, Facts, Result, Status
from preflight.model.facts import HealthFacts, LoadedDelayFacts, LossFacts, ThroughputFacts
from preflight.model.readings import median_ms, quickest_ms

if TYPE_CHECKING:
    from preflight.settings.schema import Thresholds

Verdict = Literal["allowed", "caution", "not-default", "out-of-scope"]

TELLING = ("udp.quality", "reach.udp", "reach.icmp", "control.health")
"""Checks whose facts are used; a run without any of them says nothing about placement."""
NOTICED_MS, NOTICED_TIMES = 5.0, 5.0
"""Work that waits for answers notices a transfer that adds this much, and makes the delay this many times as long."""
UNLOADED = "not measured: the delay during a transfer (--tag load)"
_NAMED = 6
"""Places that are named of those that are alike; a mesh may have hundreds."""
BULK = "bulk data never uses the control path, but object storage or rsync over the overlay"


@dataclass(frozen=True, slots=True)
class WorkPlacement:
    """One class of work. `because`: the numbers that it rests on."""

    work_class: str
    verdict: Verdict
    because: str


@dataclass(frozen=True, slots=True)
class Worst:
    """The worst peer by one measurement."""

    value: float
    peer: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the round trip to the peer becomes during one transfer, where that adds most; milliseconds."""

    peer: str
    idle_ms: float
    loaded_ms: float

    @property
    def added_ms(self) -> float:
        """What the transfer adds: in its own direction, and in the other one, where its acknowledgements wait."""
        return max(self.loaded_ms - self.idle_ms, 0.0)

    @property
    def noticed(self) -> bool:
        """Whether anyone who waits for the peer notices it."""
        return self.added_ms >= NOTICED_MS and self.loaded_ms >= NOTICED_TIMES * self.idle_ms

    def __str__(self) -> str:
        return f"during one transfer the {_ms(self.idle_ms)} to {self.peer} become {_ms(self.loaded_ms)}"


@dataclass(frozen=True, slots=True)
class Paths:
    """Numbers from the results; None: not measured. Times in ms, loss in percent, each the worst of all peers.

    mbit_s: what TCP carries in the slowest direction.
    """

    control_ms: float | None = None
    control_tail_ms: float | None = None
    timeouts: str = ""
    control_dead: bool = False
    rtt: Worst | None = None
    jitter: Worst | None = None
    loss: Worst | None = None
    loaded: Loaded | None = None
    mbit_s: Worst | None = None
    relayed: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()


def place(results: Iterable[Result], limits: "Thresholds") -> tuple[WorkPlacement, ...]:
    """Advice for the four classes of work; nothing if no check with these facts ran."""
    results = tuple(results)
    if not any(result.check in TELLING for result in results):
        return ()
    paths = read(results)
    return tuple(judge(paths, limits) for judge in (_agent_task, _inference, _training, _collectives))


def read(results: tuple[Result, ...]) -> Paths:
    """Gather the facts of all peers and of the control plane."""
    health = next((result.facts for result in results if isinstance(result.facts, HealthFacts)), None)
    peers = [result for result in results if result.target not in (NODE, CONTROL)]
    dead = [r.target for r in peers if r.status is Status.FAIL and r.category in ("overlay", "reach", "mtu", "udp")]
    control = [r for r in results if r.target == CONTROL and r.status is Status.FAIL and _of_control(r)]
    relayed = [r.target for r in peers if r.code is not None and r.code.slug == "overlay.relayed"]
    return Paths(
        control_ms=health.rtt_ms if health else None,
        control_tail_ms=health.rtt_p95_ms if health else None,
        timeouts=_timeouts(health) if health else "",
        control_dead=bool(control),
        rtt=_worst(peers, median_ms) or _worst(peers, quickest_ms),
        jitter=_worst(peers, lambda facts: facts.jitter_p95_ms if isinstance(facts, LossFacts) else None),
        loss=_worst(peers, lambda facts: facts.loss_percent if isinstance(facts, LossFacts) else None),
        loaded=max(filter(None, map(_loaded, peers)), key=lambda each: each.added_ms, default=None),
        mbit_s=min(_values(peers, _carried), key=lambda worst: worst.value, default=None),
        relayed=tuple(dict.fromkeys(relayed)),
        dead=tuple(dict.fromkeys(dead)),
    )


def _of_control(result: Result) -> bool:
    """Its code says that the control plane does not work, no matter which check found it."""
    return result.category == "control" or (result.code is not None and result.code.slug.startswith("control."))


def _agent_task(paths: Paths, limits: "Thresholds") -> WorkPlacement:
    """Allowed with conservative time-outs; the control plane's round trip decides how it feels."""
    name, limit = "agent task", limits.rtt_ms.interactive
    if paths.control_dead:
        return WorkPlacement(name, "not-default", "the control plane does not work from here; repair that first")
    if paths.control_ms is None:
        return WorkPlacement(name, "caution", f"not measured: the control plane's answers; {BULK}")
    tail = paths.control_ms if paths.control_tail_ms is None else paths.control_tail_ms
    reason = f"the control plane answers in {_ms(paths.control_ms)}; 95th percentile {_ms(tail)}"
    slow = "the control plane takes" if paths.control_ms > limit else "one answer in 20 of the control plane takes"
    doubts = [f"{slow} over {limit:g} ms"] if tail > limit else []
    doubts += _doubts(paths, limits)
    advice = f"with conservative time-outs ({paths.timeouts})" if paths.timeouts else "with conservative time-outs"
    return WorkPlacement(name, "caution" if doubts else "allowed", _sentence(reason, doubts, advice, BULK))


def _inference(paths: Paths, limits: "Thresholds") -> WorkPlacement:
    """Allowed while each execution holds a lease; latency and jitter of the peer's path are the caveats."""
    name, limit = "GPU inference", limits.rtt_ms.inference
    advice = "only while a lease holds each execution"
    if paths.dead or paths.control_dead:
        broken = _broken([*paths.dead, *(["the control plane"] if paths.control_dead else [])])
        return WorkPlacement(name, "not-default", f"{broken}; repair that first")
    if paths.rtt is None or paths.jitter is None or paths.loss is None:
        known = f"{_path_words(paths)}; " if paths.rtt else ""
        lacking = [
            word
            for word, seen in (("round trip", paths.rtt), ("jitter", paths.jitter), ("loss", paths.loss))
            if seen is None
        ]
        return WorkPlacement(name, "caution", f"not measured: {', '.join(lacking)}; {known}{advice}")
    doubts = [f"the round trip to {paths.rtt.peer} is over {limit:g} ms"] if paths.rtt.value > limit else []
    doubts += _doubts(paths, limits)
    if paths.loaded is not None and (paths.loaded.noticed or paths.loaded.loaded_ms > limit):
        doubts = list(dict.fromkeys([*doubts, str(paths.loaded)]))
    verdict: Verdict = "caution" if doubts else "allowed"
    loaded = UNLOADED if paths.loaded is None else "" if doubts else str(paths.loaded)
    feels = "latency decides how it feels"
    return WorkPlacement(name, verdict, _sentence(_path_words(paths), doubts, loaded, advice, feels))


def _training(paths: Paths, limits: "Thresholds") -> WorkPlacement:
    """Never a default over an overlay; on a bad path not even a pilot."""
    name, limit = "long GPU training", limits.rtt_ms.training
    pilot = f"not a default over an overlay: a pilot with checkpoints and opt-in at most; {BULK}"
    if paths.dead:
        return WorkPlacement(name, "out-of-scope", f"{_broken(paths.dead)}; {pilot}")
    reasons = [_all_to("path", "relayed", paths.relayed)] if paths.relayed else []
    if paths.rtt is not None and paths.rtt.value > limit:
        reasons.append(f"the round trip is over {limit:g} ms")
    if paths.loss is not None and paths.loss.value >= limits.loss_percent:
        reasons.append(f"the loss is over {limits.loss_percent:g} %")
    if paths.rtt is None or paths.loss is None:
        return WorkPlacement(name, "not-default", f"the path was not measured in full; {pilot}")
    carried = paths.mbit_s
    rate = f"TCP carries {carried.value:.1f} Mbit/s between here and {carried.peer}" if carried is not None else ""
    return WorkPlacement(
        name, "out-of-scope" if reasons else "not-default", _sentence(_path_words(paths), reasons, rate, pilot)
    )


def _collectives(paths: Paths, limits: "Thresholds") -> WorkPlacement:
    """Out of scope for any measurement: the tunnel is not a network made for them."""
    name, limit = "distributed collectives", limits.rtt_ms.collectives
    rule = "they need a topology made for them and a decision on record"
    if paths.rtt is None:
        return WorkPlacement(name, "out-of-scope", f"the round trip was not measured, and whatever it is, {rule}")
    reason = f"each step waits for the slowest path; here {_ms(paths.rtt.value)} to {paths.rtt.peer}"
    short = [f"short enough for {limit:g} ms, yet through a tunnel"] if paths.rtt.value <= limit else []
    return WorkPlacement(name, "out-of-scope", _sentence(reason, [], *short, rule))


def _doubts(paths: Paths, limits: "Thresholds") -> list[str]:
    """What makes work wait or fail on any path: loss, jitter, a queue that one transfer fills, a relay."""
    doubts = []
    if paths.loss is not None and paths.loss.value >= limits.loss_percent:
        doubts.append(f"{paths.loss.value:.1f} % of the packets of {paths.loss.peer} are lost")
    if paths.jitter is not None and paths.jitter.value >= limits.jitter_ms:
        doubts.append(f"the delay of {paths.jitter.peer} varies by {_ms(paths.jitter.value)}")
    if paths.loaded is not None and paths.loaded.added_ms >= limits.added_delay_ms:
        doubts.append(str(paths.loaded))
    if paths.relayed:
        doubts.append(_all_to("path", "relayed", paths.relayed))
    return doubts


def _path_words(paths: Paths) -> str:
    """The worst path in numbers; only called where there are any."""
    words = []
    if paths.rtt is not None:
        words.append(f"the round trip to {paths.rtt.peer} takes {_ms(paths.rtt.value)}")
    if paths.jitter is not None:
        words.append(f"jitter {_ms(paths.jitter.value)}")
    if paths.loss is not None:
        words.append(f"loss {paths.loss.value:.1f} %")
    return ", ".join(words)


def _broken(places: Sequence[str]) -> str:
    return _all_to("way", "broken", places)


def _all_to(what: str, how: str, places: Sequence[str]) -> str:
    """A clause that is true however many of its places are cut off at its end."""
    if len(places) == 1:
        return f"the {what} to {places[0]} is {how}"
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return f"{len(places)} {what}s are {how}: to {', '.join(places[:_NAMED])}{more}"


def _loaded(result: Result) -> Loaded | None:
    facts = result.facts
    if not isinstance(facts, LoadedDelayFacts):
        return None
    return Loaded(result.target, facts.idle_rtt_ms, facts.loaded_rtt_ms)


def _carried(facts: Facts) -> float | None:
    return facts.tcp_mbit_s if isinstance(facts, ThroughputFacts) else None


def _worst(results: Iterable[Result], read: Callable[[Facts], float | None]) -> Worst | None:
    return max(_values(results, read), key=lambda worst: worst.value, default=None)


def _values(results: Iterable[Result], read: Callable[[Facts], float | None]) -> list[Worst]:
    return [
        Worst(value, result.target)
        for result in results
        if result.facts is not None and (value := read(result.facts)) is not None
    ]


def _timeouts(health: HealthFacts) -> str:
    client_s, lease_s = health.advised_http_timeout_ms / 1000, health.advised_lease_ms / 1000
    return f"client {client_s:g} s, heartbeat {health.advised_heartbeat_s:g} s, lease {lease_s:g} s"


def _sentence(reason: str, doubts: list[str], *advice: str) -> str:
    """What decides comes first, for a terminal shows no more than the beginning."""
    return "; ".join(filter(None, [", ".join(doubts), reason, *advice]))


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"
