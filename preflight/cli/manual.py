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
"""Of `all`, `run` and `preflight` itself."""
_PRINTS: Mapping[int, str] = {0: "it was printed or written", 2: "wrong usage, or it could not be written"}
_SERVES: Mapping[int, str] = {0: "ended by SIGTERM or Ctrl-C", 2: "wrong usage or settings, or it cannot listen there"}
_FLEET: Mapping[int, str] = {
    0: "all is good",
    1: "a direction or a node failed",
    2: "wrong usage",
    3: "a node gave no report, or a way is undecided",
    130: "interrupted; nothing is left on the nodes",
}
_LAB: Mapping[int, str] = {0: "done", 2: "wrong usage, or the lab cannot be made here", 130: "interrupted"}
_SCORED: Mapping[int, str] = {
    0: "every diagnosis is right, and there is no false alarm",
    1: "one is wrong",
    2: "wrong usage, or the lab cannot be made here",
    130: "interrupted",
}
OWN_EXIT_CODES: Mapping[str, Mapping[int, str]] = {
    "bundle": {0: "the archive was written, whatever was found", 2: "wrong usage or settings, or it was not written"},
    "clean": {0: "nothing is left", 1: "something is left", 2: "wrong usage or settings", 130: "interrupted"},
    "control-plane": _SERVES,
    "control-plane bootstrap-token": {0: "the token was made", 2: "wrong usage, or the file exists"},
    "control-plane serve": _SERVES,
    "doctor": {
        0: "the checks have all that they use",
        1: "something is missing, so the checks see less than they could",
        2: "wrong usage",
    },
    "explain": {0: "the page was printed", 2: "there is no such code or check; the nearest are named"},
    "exporter": _SERVES,
    "fix": {
        0: "it healed and is kept, the cause is not there any more, or --dry-run",
        1: "not applied, or undone: all is as it was before",
        2: "refused, or wrong usage or settings: nothing was changed",
        4: "not all could be undone; the last lines say what is left",
        130: "interrupted, and undone",
    },
    "fleet": _FLEET,
    "fleet clean": {0: "nothing is left", 2: "wrong usage", 3: "a node could not be cleaned", 130: "interrupted"},
    "fleet lint": {0: "they agree", 1: "they disagree", 2: "wrong usage", 3: "a node could not be asked"},
    "fleet pack": {0: "it is written", 2: "wrong usage, or Ansible is missing"},
    "fleet plan": _PRINTS,
    "fleet run": _FLEET,
    "init": {0: "the file was written", 2: "it exists already, or cannot be written"},
    "lab": _LAB,
    "lab down": _LAB,
    "lab exec": {0: "the program ended well; any other code is its own", 2: "wrong usage, or no such lab or node"},
    "lab fuzz": _SCORED,
    "lab list": _PRINTS,
    "lab run": _SCORED,
    "lab up": _LAB,
    "list": _PRINTS,
    "report": _PRINTS,
    "report diff": {0: "nothing got worse", 1: "something got worse", 2: "wrong usage, or not a report"},
    "report merge": {0: "all directions and nodes are good", 1: "one failed", 2: "wrong usage, or not a report"},
    "report render": {0: "it was written", 2: "wrong usage, not a report, or it could not be written"},
    "responder": _SERVES,
    "schema": _PRINTS,
    "watch": {**EXIT_CODES, 0: "the last round was good", 1: "something failed in the last round", 130: "interrupted"},
}
"""Of commands whose exit codes mean something else, by their words."""
EXAMPLES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("preflight doctor", "what this machine lacks"),
        ("preflight all --peer 10.66.0.2=b --via ssh", "both directions of the way to one peer"),
        ("preflight explain mtu.black-hole", "the page of a finding"),
    ),
    "all": (
        ("preflight all --peer 10.66.0.2=b", "the way to one peer"),
        ("preflight all --peer 10.66.0.2=b --via ssh", "both directions, where the peer has nothing installed"),
        ("preflight all --output html=report.html", "with the settings file of this folder, as a page"),
        ("preflight all --wait 60 --fail-on warn -q", "in CI, on an overlay that is still starting"),
    ),
    "bundle": (
        ("preflight bundle", "run now, and pack everything for a ticket"),
        ("preflight bundle report.json --output ticket.tar.gz", "with the evidence of now to an earlier report"),
    ),
    "clean": (
        ("preflight clean --dry-run", "what a killed run left"),
        ("preflight clean", "remove it"),
    ),
    "control-plane": (("preflight control-plane serve", "on 127.0.0.1:9847"),),
    "control-plane bootstrap-token": (
        ("preflight control-plane bootstrap-token --ttl 15m --out token", "for one node, for a quarter of an hour"),
    ),
    "control-plane serve": (
        ("preflight control-plane serve --bind wg0:9847 --config preflight.yaml", "on the overlay's addresses"),
    ),
    "doctor": (
        ("preflight doctor", "what this user and this machine lack"),
        ("preflight doctor --json", "the same for a program"),
    ),
    "explain": (
        ("preflight explain mtu.black-hole", "a finding code"),
        ("preflight explain mtu.path", "a check, with the codes that it finds"),
    ),
    "exporter": (
        ("preflight exporter --bind 127.0.0.1:9849 --config preflight.yaml", "for a Prometheus on this host"),
    ),
    "fix": (
        ("preflight fix report.json --dry-run", "what heals the first cause, and nothing is changed"),
        ("preflight fix report.json --cause 2", "shows the fix of cause 2, asks, and undoes it unless it heals"),
        ("preflight fix --undo", "undo the last fix that was kept"),
    ),
    "fleet": (("preflight fleet run --inventory hosts.yaml", "all ways between the nodes"),),
    "fleet clean": (("preflight fleet clean --inventory hosts.yaml", "what a killed run left"),),
    "fleet lint": (("preflight fleet lint --inventory hosts.yaml", "what the nodes' tunnels disagree about"),),
    "fleet pack": (("preflight fleet pack delivery", "the roles and the program, in a folder"),),
    "fleet plan": (("preflight fleet plan --inventory hosts.yaml", "how long a run takes, and what it sends"),),
    "fleet run": (
        ("preflight fleet run --inventory hosts.yaml --output html=matrix.html", "as a page"),
        ("preflight fleet run --inventory hosts.yaml --pairs from:a", "only the ways from one node"),
    ),
    "init": (("preflight init", "preflight.yaml from what is found here"),),
    "lab": (("preflight lab up pair", "two nodes and a control host"),),
    "lab down": (("preflight lab down pair", "remove one lab"),),
    "lab exec": (("preflight lab exec pair a -- ping -c 3 10.66.0.2", "a program in node a"),),
    "lab fuzz": (("preflight lab fuzz --count 20 --seed 7", "twenty draws that can be repeated"),),
    "lab list": (("preflight lab list", "labs, scenarios, faults and set-ups"),),
    "lab run": (
        ("preflight lab run black-hole-forward", "is the diagnosis right?"),
        ("preflight lab run black-hole-forward --heal", "and does its fix heal?"),
    ),
    "lab up": (
        ("preflight lab up pair", "two nodes and a control host"),
        ("preflight lab up broken --scenario black-hole-forward", "with a fault"),
    ),
    "list": (
        ("preflight list", "every check"),
        ("preflight list --json", "the same for a program"),
    ),
    "report": (("preflight report render report.json", "a JSON report as text"),),
    "report diff": (
        ("preflight report diff yesterday.json today.json", "what got worse, and what got better"),
        ("preflight report diff yesterday.json today.json --output html=changes.html", "as a page"),
    ),
    "report merge": (("preflight report merge a.json b.json --output html=matrix.html", "who reaches whom"),),
    "report render": (("preflight report render report.json --output markdown=ticket.md", "for a ticket"),),
    "responder": (
        ("preflight responder", "on the overlay's addresses, for its members"),
        ("preflight responder --bind 10.66.0.2 --allow 10.66.0.1", "for one node"),
        ("preflight responder --pack responder.pyz", "as one file for a host that has only Python"),
    ),
    "run": (
        ("preflight run mtu.path --peer 10.66.0.2=b", "one check, and what it needs"),
        ("preflight run 'control.*'", "all checks of one area"),
    ),
    "schema": (("preflight schema config", "of preflight.yaml, for an editor"),),
    "watch": (("preflight watch --interval 60", "a line for each change, until Ctrl-C"),),
}
"""By the command's words: lines to type, and what each is for."""


def epilog(command: str) -> str:
    """What follows the options in the command's help; `\\b` keeps the lines as they are."""
    examples = [f"  {line}\n      {what}" for line, what in EXAMPLES[command]]
    statuses = [f"  {code:<4} {meaning}" for code, meaning in _codes(command).items()]
    return "\n".join(["\b", "Exit codes:", *statuses, "", "\b", "Examples:", *examples])


def sections(command: str) -> str:
    """The same for the command's man page, in roff. command: its words; empty for the program itself."""
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
