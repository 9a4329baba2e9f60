"""What Ansible says of a failed step, as a code and a sentence."""

import base64
import gzip
from typing import Any

import pytest

from preflight import codes
from preflight.codes import Code
from preflight.fleet.outcome import Kind, Step, carried, hole_of, last_json, was_spared


def step(kind: Kind, task: str = "reach", **result: Any) -> Step:
    return Step("n1", task, kind, result, 0.0, 1.0)


UNREACHABLE = "Failed to connect to the host via ssh: "


@pytest.mark.parametrize(
    ("failed", "code", "said"),
    [
        (
            step("unreachable", msg=UNREACHABLE + "ssh: connect to host 10.0.0.1 port 22: Connection refused"),
            codes.FLEET_UNREACHABLE,
            "refused",
        ),
        (step("unreachable", msg=UNREACHABLE + "root@n1: Permission denied (publickey)."), codes.FLEET_AUTH, "denied"),
        (step("unreachable", msg=UNREACHABLE + "Host key verification failed."), codes.FLEET_HOST_KEY, "Host key"),
        (step("unreachable", msg=UNREACHABLE + "Connection timed out"), codes.FLEET_TIMEOUT, "timed out"),
        (step("failed", rc=127, stdout="sh: 1: python3: not found\r\n"), codes.FLEET_PYTHON, "python3: not found"),
        (step("failed", rc=3, stdout="the node has Python 3.9 on x86_64"), codes.FLEET_PYTHON, "Python 3.9"),
        (step("failed", rc=1, stdout="OSError: [Errno 28] No space left on device"), codes.FLEET_INSTALL, "No space"),
        (step("failed", "deliver", msg="Destination not writable"), codes.FLEET_INSTALL, "not writable"),
        (step("failed", "start", censored="the output has been hidden"), codes.FLEET_INSTALL, "carries a secret"),
        (step("failed", "ready", rc=1, stderr="no state"), codes.FLEET_RESPONDER, "no state"),
        (step("failed", "collect", rc=1, stderr="no report within 9 s"), codes.FLEET_TIMEOUT, "no report"),
    ],
)
def test_a_failure_has_a_code_and_the_engine_s_words(failed: Step, code: Code, said: str) -> None:
    """Protects from a hole that says nothing, or sends the reader to the wrong page."""
    hole = hole_of(failed)
    assert (hole.node, hole.code) == ("n1", code)
    assert said in hole.message
    assert "\n" not in hole.message


def test_the_connection_s_farewell_is_not_the_reason() -> None:
    """Protects the message from what OpenSSH adds to each connection with a terminal."""
    hole = hole_of(step("failed", rc=1, stdout="the disk is full\r\n", stderr="Shared connection to n1 closed.\r\n"))
    assert hole.message == "the disk is full"


def test_what_an_agent_prints_comes_back() -> None:
    """Protects reports from the banners and line ends that a terminal adds."""
    packed = base64.b64encode(gzip.compress(b'{"a": 1}')).decode()
    assert carried(step("ok", stdout=f"Welcome!\r\npreflight:{packed}\r\n")) == b'{"a": 1}'
    assert last_json(step("ok", stdout='Welcome!\r\n{"a": 1}\r\n\r\n')) == {"a": 1}


@pytest.mark.parametrize("text", ["", "preflight:!!!", "preflight:AAAA", "hello"])
def test_what_is_damaged_is_told(text: str) -> None:
    """Protects the run from a node that prints something else."""
    with pytest.raises(ValueError, match=r"."):
        carried(step("ok", stdout=text))


@pytest.mark.parametrize(
    ("ended", "spared"),
    [
        (step("unreachable"), True),
        (step("failed", rc=127), True),
        (step("failed", msg="Task failed: Incorrect sudo password"), True),
        (step("failed", rc=3), False),
        (step("unreachable", "collect"), False),
        (step("ok"), False),
    ],
)
def test_only_a_node_without_our_files_is_not_cleaned(ended: Step, spared: bool) -> None:
    """Protects nodes from what a failed run leaves, and the reader from a complaint about a node that has nothing."""
    assert was_spared(ended) == spared
