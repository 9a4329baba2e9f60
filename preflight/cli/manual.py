"""Exit codes and examples, as `--help` and the man pages show them."""

from collections.abc import Iterator, Mapping

EXIT_CODES: Mapping[int, str] = {
    0: "nothing failed, and everything could be decided",
    1: "something failed (with --fail-on warn, or warned)",
    2: "wrong usage or settings, or a document could not be written",
    3: "nothing failed, but something could not be decided",
    4: "nothing failed, but a check broke",
    130: "interrupted; what had finished is reported",
}
OWN_EXIT_CODES: Mapping[str, Mapping[int, str]] = {
    "doctor": {
        0: "the checks have all that they use",
        1: "something is missing, so the checks see less than they could",
        2: "wrong usage",
    },
    "fix": {
        0: "it healed and is kept, the cause is not there any more, or --dry-run",
        1: "not applied, or undone: all is as it was before",
        2: "refused, or wrong usage or settings: nothing was changed",
        4: "not all could be undone; the last lines say what is left",
        130: "interrupted, and undone",
    },
}
"""Of commands whose exit codes mean something else."""
EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "all": (
        ("preflight all --peer 10.66.0.2=b", "the way to one peer"),
        ("preflight all --peer 10.66.0.2=b --via ssh", "both directions, where the peer has nothing installed"),
        ("preflight all --output html=report.html", "with the settings file of this folder, as a page"),
        ("preflight all --wait 60 --fail-on warn -q", "in CI, on an overlay that is still starting"),
    ),
    "run": (
        ("preflight run mtu.path --peer 10.66.0.2=b", "one check, and what it needs"),
        ("preflight run 'control.*'", "all checks of one area"),
    ),
    "doctor": (
        ("preflight doctor", "what this user and this machine lack"),
        ("preflight doctor --json", "the same for a program"),
    ),
    "fix": (
        ("preflight fix report.json --dry-run", "what heals the first cause, and nothing is changed"),
        ("preflight fix report.json --cause 2", "shows the fix of cause 2, asks, and undoes it unless it heals"),
        ("preflight fix --undo", "undo the last fix that was kept"),
    ),
}


def epilog(command: str) -> str:
    """What follows the options in the command's help; `\\b` keeps the lines as they are."""
    examples = [f"  {line}\n      {what}" for line, what in EXAMPLES[command]]
    statuses = [f"  {code:<4} {meaning}" for code, meaning in _codes(command).items()]
    return "\n".join(["\b", "Exit codes:", *statuses, "", "\b", "Examples:", *examples])


def sections(command: str) -> str:
    """The same for the command's man page, in roff."""
    return "\n".join(_roff(command)) + "\n"


def _roff(command: str) -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for code, meaning in _codes(command).items():
        yield from (".TP", str(code), _escaped(meaning))
    yield ".SH EXAMPLES"
    for line, what in EXAMPLES[command]:
        yield from (".PP", _escaped(what), ".PP", ".nf", _escaped(line), ".fi")


def _codes(command: str) -> Mapping[int, str]:
    return OWN_EXIT_CODES.get(command, EXIT_CODES)


def _escaped(text: str) -> str:
    """A hyphen that is pasted is a minus sign; no line may begin with a quote."""
    return "\\&" + text.replace("\\", "\\e").replace("-", "\\-")
