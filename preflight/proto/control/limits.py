"""A limit of requests on the way that lets one a second through, or fewer; pure."""

from preflight import codes
from preflight.model.control import HttpAnswer
from preflight.model.facts import DeathFacts
from preflight.proto.control.answers import GATEWAY_LIMIT, LIMIT, MORE_BURST, Finding
from preflight.proto.control.gateways import server_name
from preflight.proto.control.populi import is_populi

NARROW_S = 0.8
"""A request that is refused so long after the last one that passed, or held back for so long, shows such a limit."""


def narrow(gap_s: float, refusal: HttpAnswer | None) -> Finding:
    """What is said of it. gap_s: so late a request was still too early. refusal: its answer; None: it waited."""
    about = f"fewer than {1 / gap_s:.1f} requests a second" if gap_s < 1 else f"less than one request in {gap_s:.1f} s"
    if refusal is None:
        message = f"the control plane answers, and a limit on the way lets {about} through: it holds others back"
        return Finding(codes.CONTROL_THROTTLED, message, GATEWAY_LIMIT, DeathFacts(problem=LIMIT), "answer")
    own = is_populi(refusal)
    who = None if own else server_name(refusal) or "something in front of the control plane"
    message = (
        f"the control plane answers, and {who or 'it'} lets {about} through: another one {gap_s:.1f} s after the "
        f"last that passed was answered {refusal.status}"
    )
    decided = DeathFacts(problem=LIMIT, http_status=refusal.status, server=who)
    return Finding(codes.CONTROL_THROTTLED, message, MORE_BURST if own else GATEWAY_LIMIT, decided, "answer")
