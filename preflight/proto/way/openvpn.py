"""Where an OpenVPN client sends, by its own options: pure."""

import shlex
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from itertools import pairwise

DEFAULT_PORT = 1194
Remote = tuple[str, int]


def config_of(arguments: Sequence[str]) -> str | None:
    """The configuration file that a command line names; None if it names none, or several."""
    named = [value for option, value in pairwise(arguments) if option == "--config"]
    if not named and len(arguments) == 2 and not arguments[1].startswith("-"):
        named = [arguments[1]]
    return named[0] if len(named) == 1 else None


def remote_of(arguments: Sequence[str], config: str) -> Remote | None:
    """The one remote end of a command line and its configuration file, by address; None if there is no such one.

    A name is not looked up here, for only the program knows which of its addresses it took.
    """
    lines = [*_lines(config), *_options(arguments)]
    port = next((line[1] for line in reversed(lines) if line[0] in ("port", "rport") and len(line) > 1), "")
    remotes = {(line[1], line[2] if len(line) > 2 else port) for line in lines if line[0] == "remote" and line[1:]}
    if len(remotes) != 1:
        return None
    address, number = remotes.pop()
    try:
        return str(ip_address(address)), int(number or DEFAULT_PORT)
    except ValueError:
        return None


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
