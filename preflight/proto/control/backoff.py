"""How long to wait before asking again: exponential back-off with full jitter, honouring `Retry-After`."""

FIRST_S = 0.5
CEILING_S = 15.0


def delay_s(attempt: int, retry_after_s: float | None, random: float) -> float:
    """Seconds to wait behind failed attempt number `attempt` (1, 2, …); `random` is uniform in [0, 1).

    Full jitter spreads clients that failed together over the whole interval. A server's `Retry-After` is a least: the
    jitter comes on top of it, so that those whom it sent away together do not come back together.
    """
    jitter = random * min(CEILING_S, FIRST_S * 2.0 ** min(attempt - 1, 10))
    return jitter if retry_after_s is None else retry_after_s + min(jitter, 1.0)
