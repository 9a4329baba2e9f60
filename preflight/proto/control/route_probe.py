"""The routes of a control plane that must refuse strangers, and one request to one of them; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from preflight.proto.control.gate import Gate

API = "/v1/populi"
ROUTES: tuple[tuple[str, str], ...] = (
    ("GET", "/nodes"),
    ("POST", "/join"),
    ("POST", "/heartbeat"),
    ("POST", "/leave"),
    ("POST", "/a2a/deliver"),
    ("POST", "/a2a/inbox"),
    ("POST", "/a2a/ack"),
    ("POST", "/a2a/lease-renew"),
    ("POST", "/exec/lease/grant"),
    ("POST", "/exec/lease/renew"),
    ("POST", "/exec/lease/release"),
    ("GET", "/exec/leases"),
    ("POST", "/admin/quarantine"),
    ("POST", "/admin/maintenance"),
    ("POST", "/admin/exec-lease/revoke"),
)
"""Every route that must require a bearer. The bootstrap exchange is not in the list: its credential is in the body, and
we never send a made-up token there."""

LIST = ROUTES[0]
"""What is asked with a signature: it changes nothing."""

NEWER_ROUTES: tuple[tuple[str, str], ...] = (
    ("POST", "/worker/execute"),
    ("POST", "/dispatch"),
    ("GET", "/dispatch/result/preflight-unknown"),
    ("GET", "/queue/stats"),
    ("GET", "/federation/directory"),
    ("POST", "/federation/announce"),
)
"""The same for routes that not every control plane has; `worker/execute` runs scripts."""

RUNS = NEWER_ROUTES[0]
ENROLLING = ("/join", "/heartbeat", "/leave", "/exec/lease/grant", "/exec/lease/renew", "/exec/lease/release")
TELLING = (LIST, RUNS)
"""Where an unknown bearer is tried although there is a limit of requests: the list, and what runs scripts."""

SIGNED = "signed"


@dataclass(frozen=True, slots=True)
class Probe:
    """One request that cannot succeed, and how it was answered.

    bearer: `none`, `unknown`, or `signed`: none, and a signature by a key that was made for it. status: None without an
    answer. wait_s: the wait that a rate-limiting server asks for, seconds. gateway: who handed a control plane's answer
    on.
    """

    method: str
    path: str
    bearer: str
    gate: Gate = Gate.UNTOLD
    status: int | None = None
    detail: str = ""
    wait_s: float = 1.0
    gateway: str | None = None

    @property
    def answered(self) -> str:
        """The answer in a few words."""
        return f"{self.method} {self.path}: {self.detail or self.status}"


@dataclass(frozen=True, slots=True)
class Answers:
    """All probes. rate: about how many requests a second pass a limit on the way; None without a limit."""

    probes: tuple[Probe, ...]
    rate: float | None = None


def shows_enough(asked: Iterable[Probe]) -> bool:
    """Whether each route was asked without a bearer, and some with an unknown one."""
    asked = tuple(asked)
    plain = {(probe.method, probe.path) for probe in asked if probe.bearer == "none"}
    unknown = {(probe.method, probe.path) for probe in asked if probe.bearer == "unknown"}
    return plain.issuperset((*ROUTES, RUNS)) and unknown.issuperset(TELLING)


def what_fails(untold: Iterable[Probe], asked: int) -> str | None:
    """What is said where the server fails at one route alone, with any bearer: a stranger's request may never reach it.

    Where it fails for members too, only a member's own request shows that. asked: the number of all probes.
    """
    failed = tuple(untold)
    routes = {(probe.method, probe.path) for probe in failed}
    if (
        len(routes) != 1
        or asked - len(failed) < len(ROUTES)
        or not all((probe.status or 0) // 100 == 5 for probe in failed)
    ):
        return None
    ((_, path),) = routes
    sees = ", which an enrolment shows (--enroll)" if path in ENROLLING else ""
    return f"all other routes got one, so this one may not be handed on to the control plane{sees}"


def named(through: list[Probe]) -> list[str]:
    """Each route once, with its status; the kind of bearer only if one kind alone was accepted."""
    by_route: dict[tuple[str, str], list[Probe]] = {}
    for probe in through:
        by_route.setdefault((probe.method, probe.path), []).append(probe)
    return [f"{method} {path} ({probes[0].status}){_which(probes)}" for (method, path), probes in by_route.items()]


def _which(probes: list[Probe]) -> str:
    return " with an unknown bearer" if [probe.bearer for probe in probes] == ["unknown"] else ""
