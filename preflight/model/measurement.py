"""The values that a report and its timeline contain, apart from `facts`: events need no facts to load."""

from collections.abc import Sequence

Measurement = int | float | str | bool | None | Sequence[int | float | str]
"""A JSON-ready value; the unit is in its name (`rtt_ms`, `mtu_bytes`, `loss_percent`)."""
