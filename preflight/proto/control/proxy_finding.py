"""A proxy that itself refuses, where nothing shows whether the control plane would answer without it; pure."""

from preflight import codes
from preflight.model.control import ControlError, HttpAnswer
from preflight.model.facts import DeathFacts
from preflight.model.remedy import by_hand, look
from preflight.proto.control.answers import Finding
from preflight.proto.control.http import Proxy

PASSWORD_WANTED = 407


def refused_by_proxy(proxy: Proxy, bad: HttpAnswer | ControlError | None) -> Finding | None:
    """What a proxy refuses; None where it is not the one that does."""
    if isinstance(bad, HttpAnswer):
        status = bad.status if bad.status == PASSWORD_WANTED else None
    else:
        status = bad.decided.http_status if bad is not None and bad.station == "proxy" else None
    if status is None:
        return None
    decided = DeathFacts(variable=proxy.variable, http_status=status)
    who = f"the proxy {proxy.place} ({proxy.variable}) answers {status}"
    if status == PASSWORD_WANTED:
        message = f"{who}: it needs a user and a password, and none of {proxy.variable} is accepted"
        line = f"Write a user and a password that the proxy accepts into {proxy.variable}, before the name of its host."
        return Finding(codes.HOST_PROXY_ENV, message, by_hand(line), decided, "proxy")
    message = f"{who} in the place of a connection to the control host"
    line = f"curl -sv --proxy http://{proxy.place} CONTROL-URL/health   # what does the proxy say?"
    return Finding(codes.HOST_PROXY_ENV, message, look(line), decided, "proxy")
