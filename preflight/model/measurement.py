"""The values that a report and its timeline contain, apart from `facts`: events need no facts to load."""

from collections.abc import Sequence
from typing import Union

Measurement = Union[int, float, str, bool, Sequence[Union[int, float, str]], None]  # noqa: UP007 - Python 3.9 has no `|` here
"""A JSON-ready value; the unit is in its name (`rtt_ms`, `mtu_bytes`, `loss_percent`)."""
