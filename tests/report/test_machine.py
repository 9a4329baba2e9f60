"""`doctor` as a person and as a program read it."""

import json

from preflight.model.machine import Machine, Need
from preflight.report.machine import as_json, as_text

COMMAND = (
    'sudo setpriv --inh-caps +net_admin,+net_raw --ambient-caps +net_admin,+net_raw -- "$(command -v preflight)" all'
)
FOUND = (
    Need("python", "checks", "here", "Python 3.11.2"),
    Need("net_raw", "checks", "missing", "CAP_NET_RAW", "no echoes", ("mtu.echo", "reach.icmp"), (COMMAND,)),
    Need("ssh", "more", "missing", "ssh", "no `--via ssh`"),
)


def test_a_line_to_paste_is_never_wrapped() -> None:
    """Wrapped, it would be pasted broken."""
    text = as_text(FOUND, (), 1, width=60, color=False)
    assert f"    get: {COMMAND}\n" in text


def test_a_line_that_gives_several_things_is_shown_once() -> None:
    """One `sudo` gives both privileges."""
    admin = Need("net_admin", "checks", "missing", "CAP_NET_ADMIN", "no sessions", (), (COMMAND,))
    assert as_text((admin, *FOUND), (), 1, width=80, color=False).count(COMMAND) == 1


def test_it_says_what_is_missing_what_that_costs_and_ends_with_the_verdict() -> None:
    """The exit code is explained where it is printed; what only other commands use is not counted."""
    text = as_text(FOUND, ("apt-get install openssh-client",), 1, width=80, color=False)
    assert "✗ CAP_NET_RAW: missing\n    no echoes (mtu.echo, reach.icmp)\n" in text
    assert text.endswith(
        "install what is missing:\n  apt-get install openssh-client\n"
        "1 thing that the checks use is missing; exit code 1\n"
    )


def test_a_whole_machine_is_told_in_few_lines() -> None:
    """What is here needs no line each."""
    text = as_text(FOUND[:1], (), 0, width=80, color=False)
    assert "✓ Python 3.11.2" in text
    assert text.endswith("the checks have all that they use; exit code 0\n")


def test_no_colour_unless_asked_for() -> None:
    """A file gets no escapes."""
    assert "\x1b" not in as_text(FOUND, (), 1, width=80, color=False)
    assert "\x1b" in as_text(FOUND, (), 1, width=80, color=True)


def test_a_program_gets_everything() -> None:
    """The document has the machine, each need and the lines, and is plain JSON."""
    document = json.loads(as_json(Machine("linux", capabilities=frozenset({"net_raw"})), FOUND, ("x",), 1))
    assert document["machine"]["capabilities"] == ["net_raw"]
    assert [need["id"] for need in document["needs"]] == ["python", "net_raw", "ssh"]
    assert (document["install"], document["exit_code"]) == (["x"], 1)
