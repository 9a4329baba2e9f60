"""What an answer says about the control plane's bearer check, for a request that cannot succeed; pure.

Only answers that Populi alone gives count: gateways, portals and other products answer too.
"""

from enum import Enum, auto
from typing import Any

from preflight.model.control import HttpAnswer
from preflight.proto.control.answers import SERVER_ERROR, THROTTLED, UNAUTHORIZED
from preflight.proto.control.populi import is_populi

LISTS = {"/nodes": "nodes", "/exec/leases": "leases"}
"""The routes that answer with a list, and its name; others with any object."""
LACKING = frozenset({404, 405})
"""Populi's answers where it has no such route, to those that it lets through."""
JUDGED_BODY = frozenset({400, 415, 422})
"""Populi's answers to an empty object where it asks for no bearer: it reads the body after its bearer check."""


class Gate(Enum):
    """What happened to a request."""

    REFUSED = auto()
    """Populi's own bearer check refused it."""
    OPEN = auto()
    """It passed that check."""
    REDIRECTED = auto()
    STRANGER = auto()
    """Something else accepted it."""
    DENIED = auto()
    """Something else refused it."""
    KEPT = auto()
    """A cache on the way answered it with what it kept of another request."""
    ABSENT = auto()
    """The control plane has no such route."""
    UNTOLD = auto()
    """The answer decides nothing: throttling, a server's error, or a body that the contract does not know."""


def gate(method: str, route: str, answer: HttpAnswer, *, may_lack: bool = False) -> Gate:
    """What happened to a request to a route below `/v1/populi`; `POST` with an empty object.

    may_lack: not every control plane has this route.
    """
    status = answer.status
    if status // 100 == 3:
        return Gate.REDIRECTED
    if status == THROTTLED or status >= SERVER_ERROR:
        return Gate.UNTOLD
    if answer.kept:
        return Gate.KEPT
    if not is_populi(answer):
        return Gate.STRANGER if status // 100 == 2 else Gate.DENIED
    if status == UNAUTHORIZED:
        return Gate.REFUSED
    if may_lack and status in LACKING:
        return Gate.ABSENT
    if status // 100 == 2:
        document = _object(answer.body)
        listed = isinstance(document.get(LISTS[route]), list) if route in LISTS else bool(document)
        through = listed if method == "GET" else bool(document or not answer.body)
    else:
        through = method == "POST" and status in JUDGED_BODY
    return Gate.OPEN if through else Gate.UNTOLD


def _object(body: bytes) -> dict[str, Any]:
    """A body, or the beginning of a long one, as a JSON object; an empty object for anything else, such as a page."""
    from pydantic_core import from_json  # here, so that the catalogue needs no pydantic

    try:
        document = from_json(body, allow_inf_nan=False, allow_partial=True)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
