"""Where an OpenVPN client sends, by its own options: pure."""

import shlex
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from itertools import pairwise

DEFAULT_PORT = 1194
Remote = tuple[str, int]
Options = Sequence[tuple[str, ...]]
"""The words of each directive, its name first."""


def config_of(arguments: Sequence[str]) -> str | None:
    """The configuration file that a command line names; None if it names none, or several."""
    named = [value for option, value in pairwise(arguments) if option == "--config"]
    if not named and len(arguments) == 2 and not arguments[1].startswith("-"):
        named = [arguments[1]]
    return named[0] if len(named) == 1 else None


def options_of(arguments: Sequence[str], config: str) -> Options:
    """The words of all directives: of the configuration file, then of the command line."""
    return (*map(tuple, _lines(config)), *map(tuple, _options(arguments)))


def value_of(options: Options, name: str) -> str | None:
    """The first word behind the last directive of a name; None without one."""
    return next((line[1] for line in reversed(options) if line[0] == name and len(line) > 1), None)


def remote_of(arguments: Sequence[str], config: str) -> Remote | None:
    """The one remote end of a command line and its configuration file, by address; None if there is no such one."""
    return remote_in(options_of(arguments, config))


def remote_in(options: Options) -> Remote | None:
    """The one remote end that the options name by address.

    A name is not looked up here, for only the program knows which of its addresses it took.
    """
    remotes = set(remotes_in(options))
    if len(remotes) != 1:
        return None
    address, number = remotes.pop()
    try:
        return str(ip_address(address)), int(number or DEFAULT_PORT)
    except ValueError:
        return None


def remotes_in(options: Options) -> tuple[tuple[str, str], ...]:
    """All remote ends as they are written, with their ports, which may be empty."""
    port = next((line[1] for line in reversed(options) if line[0] in ("port", "rport") and len(line) > 1), "")
    return tuple((line[1], line[2] if len(line) > 2 else port) for line in options if line[0] == "remote" and line[1:])


def _lines(config: str) -> Iterable[list[str]]:
    """The words of each directive; a block in angle brackets holds keys, and may hold one remote of several."""
    for line in config.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        if words and not words[0].startswith(";"):
            yield words


def _options(arguments: Sequence[str]) -> Iterable[list[str]]:
    """The same of a command line."""
    words: list[str] = []
    for argument in (*arguments[1:], "--"):
        if argument.startswith("--"):
            if words:
                yield words
            words = [argument[2:]]
        elif words:
            words.append(argument)
