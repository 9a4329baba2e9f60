"""A token bucket for each client address; pure except for its table."""

from dataclasses import dataclass

from preflight.control.config import Rate

LARGEST_TABLE = 10_000
FORGET_EVERY_S = 1.0
THE_REST = "the rest"
"""One shared client for all clients that do not fit into the table."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_s: float


class Limiter:
    """Admits `rate.burst` requests at once and `rate.per_second` in the long run, for each client."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: dict[str, _Bucket] = {}
        self._forgot_s = float("-inf")

    def delay(self, client: str, now_s: float) -> float:
        """Seconds that the client has to wait; 0 admits and counts the request. `now_s` is a monotonic time."""
        if len(self._buckets) >= LARGEST_TABLE and client not in self._buckets:
            client = self._made_room(client, now_s)
        bucket = self._buckets.setdefault(client, _Bucket(self._rate.burst, now_s))
        bucket.tokens = self._filled(bucket, now_s)
        bucket.filled_s = now_s
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._rate.per_second
        bucket.tokens -= 1
        return 0.0

    def _filled(self, bucket: _Bucket, now_s: float) -> float:
        return min(bucket.tokens + (now_s - bucket.filled_s) * self._rate.per_second, self._rate.burst)

    def _made_room(self, client: str, now_s: float) -> str:
        """The key for a new client after dropping full buckets: a full bucket equals a new one."""
        if (
            now_s - self._forgot_s < FORGET_EVERY_S
        ):  # a client with many addresses must not make us search the table each time
            return THE_REST
        self._forgot_s = now_s
        self._buckets = {
            client: bucket for client, bucket in self._buckets.items() if self._filled(bucket, now_s) < self._rate.burst
        }
        return client if len(self._buckets) < LARGEST_TABLE else THE_REST
