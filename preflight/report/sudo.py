"""Commands that need root, for a reader who is not root."""

import re
import shlex
from dataclasses import replace

from preflight.model.remedy import Remedy, is_sentence

_OPERATORS = frozenset({"&&", "||", ";", "&", ">", ">>", "<"})
"""What `sudo` before the line does not reach behind. What follows a pipe only filters."""
_PROGRAM = re.compile(r"[a-z][\w.-]*")


def with_sudo(remedy: Remedy) -> Remedy:
    """The same, with `sudo` before each command that needs root on this node."""
    if remedy.needs != "root" or remedy.where != "node" or remedy.host is not None:
        return remedy
    return replace(remedy, lines=tuple(map(_prefixed, remedy.lines)), fix=None)


def _prefixed(line: str) -> str:
    command, mark, comment = line.partition("   # ")
    program, _, rest = command.partition(" ")
    if is_sentence(line) or not _PROGRAM.fullmatch(program) or program == "export" or "sudo " in command:
        return line
    if program == "preflight":  # it may be in no folder that root's search path has
        return f'sudo "$(command -v preflight)" {rest}{mark}{comment}'
    before = f"sudo sh -c {shlex.quote(command)}" if _joins(command) else f"sudo {command}"
    return f"{before}{mark}{comment}"


def _joins(command: str) -> bool:
    """Whether it is more than one command; what is in quotes or in `$(…)` does not count."""
    reader = shlex.shlex(command, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    depth = 0
    try:
        for word in reader:
            depth += word.count("(") - word.count(")")
            if depth <= 0 and word in _OPERATORS:
                return True
    except ValueError:
        return True
    return False
