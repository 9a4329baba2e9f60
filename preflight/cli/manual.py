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
}


def epilog(command: str) -> str:
    """What follows the options in the command's help; `\\b` keeps the lines as they are."""
    examples = [f"  {line}\n      {what}" for line, what in EXAMPLES[command]]
    statuses = [f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["\b", "Exit codes:", *statuses, "", "\b", "Examples:", *examples])


def sections(command: str) -> str:
    """The same for the command's man page, in roff."""
    return "\n".join(_roff(command)) + "\n"


def _roff(command: str) -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_CODES.items():
        yield from (".TP", str(code), _escaped(meaning))
    yield ".SH EXAMPLES"
    for line, what in EXAMPLES[command]:
        yield from (".PP", _escaped(what), ".PP", ".nf", _escaped(line), ".fi")


def _escaped(text: str) -> str:
    """A hyphen that is pasted is a minus sign; no line may begin with a quote."""
    return "\\&" + text.replace("\\", "\\e").replace("-", "\\-")
