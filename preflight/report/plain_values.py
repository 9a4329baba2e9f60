"""Measurements and evidence in words: no value is shown as Python writes it."""

from collections.abc import Mapping


def said(value: object) -> str:
    """A value of a report: `yes`, `none`, `1, 2`, `rule: drop, handle: 5`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_inner(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_inner, value)) or "none"
    return str(value)


def _inner(value: object) -> str:
    """Inside another value, brackets show what belongs together."""
    if isinstance(value, Mapping | list | tuple) and value:
        return f"({said(value)})"
    return said(value)
