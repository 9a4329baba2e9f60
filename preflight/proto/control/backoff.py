"""Whether a request may be repeated, and when: exponential back-off with full jitter, honouring `Retry-After`."""

from preflight.model.control import ControlError, NotHttpError

FIRST_S = 0.5
CEILING_S = 15.0
RETRIABLE_STATUS = frozenset({429, 502, 503, 504})
"""`Later`, and what a reverse proxy says while the server behind it restarts."""
TRANSPORT = frozenset({"dns", "refused", "unreachable", "timeout", "protocol"})
"""Errors without an answer, which may pass."""
AMBIGUOUS = frozenset({"unreachable", "timeout", "protocol"})
"""Errors after which the server may have done what it was asked to."""
GATEWAY_STATUS = frozenset({502, 504})
"""The same from a proxy: it lost the server behind it, or the server's answer."""


def delay_s(attempt: int, retry_after_s: float | None, random: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (1, 2, …); `random` is uniform in [0, 1).

    Full jitter spreads clients that failed together over the whole interval. `Retry-After` is a minimum: the jitter is
    added to it, so that clients that were sent away together do not come back together.
    """
    jitter = random * min(CEILING_S, FIRST_S * 2.0 ** min(attempt - 1, 10))
    return jitter if retry_after_s is None else retry_after_s + min(jitter, 1.0)


def retriable(error: ControlError) -> bool:
    """Whether a repeat may help: the server says `later`, or no answer came."""
    if error.status is not None:
        return error.status in RETRIABLE_STATUS
    return error.kind in TRANSPORT and not isinstance(error, NotHttpError)


def unheard(error: ControlError) -> bool:
    """Whether the server may have done what it was asked to, and its answer was lost or cannot be read."""
    return error.kind in AMBIGUOUS or error.status in GATEWAY_STATUS
