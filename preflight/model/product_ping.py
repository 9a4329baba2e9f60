"""A product's own ping: whether its session with a peer carries something that no policy filters."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProductPing:
    """One answer. kind: what the product calls it; latency_s: None if the peer did not answer.

    endpoint: where the peer was reached, if directly.
    """

    kind: str
    latency_s: float | None = None
    endpoint: str | None = None
