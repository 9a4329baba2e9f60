"""The command line as click has parsed it: kinds of values, and the way back from them to words."""

import math
from collections.abc import Collection, Iterator
from typing import Any

import click

LONGEST_S = 366 * 24 * 3600.0
"""The longest time that can be meant, seconds."""


class Seconds(click.FloatRange):
    """A time in seconds that can pass: neither NaN nor endless, which every comparison would let through."""

    def __init__(self, min: float = 0.0, *, min_open: bool = False) -> None:
        super().__init__(min=min, max=LONGEST_S, min_open=min_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Fails as every click type does."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        least = float(self.min or 0)
        if not least <= seconds <= LONGEST_S or (self.min_open and seconds == least):
            bound = f"more than {least:g}" if self.min_open else f"at least {least:g}"
            self.fail(f"{value!r} is not a time in seconds, which is {bound} and at most {LONGEST_S:.0f}", param, ctx)
        return seconds


def words(context: click.Context, *, without: Collection[str] = ()) -> tuple[str, ...]:
    """The command and its options, from the parsed values, so that it can be run again unchanged.

    It contains none of the typed words. without: parameters that are left out, by their names.
    """
    given = (
        parameter
        for parameter in context.command.params
        if parameter.name and parameter.name not in without and _was_given(context, parameter.name)
    )
    # Arguments go first: an option that takes a value cannot swallow one then.
    ordered = sorted(given, key=lambda parameter: parameter.param_type_name != "argument")
    return (*context.command_path.split(), *(word for each in ordered for word in _words_of(each, context.params)))


def _was_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _words_of(parameter: click.Parameter, values: dict[str, Any]) -> Iterator[str]:
    value = values[str(parameter.name)]
    if isinstance(parameter, click.Argument):
        yield from map(str, value if isinstance(value, tuple) else (value,))
    elif isinstance(parameter, click.Option) and parameter.is_flag:
        yield parameter.opts[-1]
    else:
        for each in value if parameter.multiple else (value,):
            yield from (parameter.opts[-1], str(each))
