"""What is sent to a peer by ssh, and what its answers mean, whatever else its shell prints."""

import json
import subprocess
import sys

import pytest

from preflight.proto.responder.by_ssh import (
    REMOTE,
    Reached,
    Ready,
    Refused,
    command,
    question,
    read_line,
    read_reached,
    refusal,
    stream,
)


def test_nobody_is_asked_and_nothing_more_is_opened() -> None:
    """A run must not hang at a prompt, and not open the forwardings of the user's configuration."""
    words = command("/usr/bin/ssh", "b", None)
    assert words[0] == "/usr/bin/ssh"
    assert words[-3:] == ["--", "b", REMOTE]
    assert {"BatchMode=yes", "ClearAllForwardings=yes", "RemoteCommand=none"} <= set(words)
    assert "-F" not in words
    assert command("ssh", "b", "/etc/other")[1:3] == ["-F", "/etc/other"]
    assert question("ssh", "b", "/etc/other") == ["ssh", "-F", "/etc/other", "-G", "--", "b"]


def test_the_key_is_in_no_argument() -> None:
    """Arguments are seen by every user of both machines: the key goes with the pack, by standard input."""
    key = b"0123456789abcdef"
    sent = stream(b"PK", address="fd66::2", port=862, key=key, askers=["[fd66::1]:862"], life_s=60.0)
    length, _, rest = sent.partition(b"\n")
    order = json.loads(rest[int(length) :])
    assert rest[: int(length)] == b"PK"
    assert order == {
        "bind": "[fd66::2]:862",
        "key": key.hex(),
        "peers": ["[fd66::1]:862"],
        "life_s": 60.0,
        "load": False,
    }
    assert key.hex() not in "".join(command("ssh", "b", None))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Welcome to b!\n", None),
        ("preflight-responder\n", None),
        ("preflight-responder listening 10.66.0.2:862\n", Ready("10.66.0.2", 862)),
        ("preflight-responder listening 10.66.0.2:0\n", None),
        ("preflight-responder listening 198.51.100.1:99999\n", None),
        ("preflight-responder python 3.6.15\n", "its python3 is 3.6.15, and the responder needs 3.9 or newer"),
        ("preflight-responder taken 862\n", "UDP port 862 is in use there; `ss -lunp 'sport = :862'` on b shows"),
        ("preflight-responder absent\n", "the host that ssh reaches does not have the address 10.66.0.2"),
        ("preflight-responder error \x1b[2J what\n", "the responder could not start there: [2J what"),
        ("preflight-responder dance\n", None),
    ],
)
def test_lines_of_the_responder(line: str, found: Ready | str | None) -> None:
    """Everything else that a shell prints is passed over; what is quoted cannot move a cursor."""
    read = read_line(line, "10.66.0.2", "b")
    if isinstance(found, str):
        assert isinstance(read, Refused)
        assert read.why.startswith(found)
    else:
        assert read == found


@pytest.mark.parametrize(
    ("errors", "code", "why"),
    [
        ("Host key verification failed.\n", 255, "its host key is not known here"),
        (
            "No ED25519 host key is known for b and you have requested strict checking.\n",
            255,
            "its host key is not known",
        ),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n",
            255,
            "its host key is not the",
        ),
        (
            "root@b: Permission denied (publickey,password).\n",
            255,
            "it accepts no key of this user (publickey,password)",
        ),
        ("ssh: Could not resolve hostname b: Name or service not known\n", 255, "its name cannot be resolved"),
        (
            "connect to host b port 22: Connection refused\nproxy dialer did not pass back a connection\n",
            255,
            "its SSH port",
        ),
        ("connect to host b port 22: Connection timed out\n", 255, "nothing answered on its SSH port in time"),
        ("connect to host b port 22: No route to host\n", 255, "there is no way to its SSH port (No route to host)"),
        ("bash: line 1: exec: python3: not found\n", 127, "it has no python3"),
        ("Banner\n\nModuleNotFoundError: No module named 'zlib'\n", 1, "ssh says: ModuleNotFoundError"),
        ("", 255, "ssh ended with exit code 255"),
        ("", None, "nothing came back in time"),
    ],
)
def test_why_nothing_listens(errors: str, code: int | None, why: str) -> None:
    """One clause for each thing that keeps ssh from a peer, in the words of OpenSSH's messages."""
    assert refusal(errors, code).why.startswith(why)


def test_where_a_destination_leads() -> None:
    """Where another host or program is between, the user's configuration alone says how to get there."""
    assert read_reached("user root\nhostname 10.66.0.2\nport 2222\n") == Reached("10.66.0.2", "2222", plain=True)
    assert read_reached("hostname b\nproxyjump gate\n") == Reached("b", "22", plain=False)
    assert not read_reached("hostname b\nproxycommand nc b 22\n").plain
    assert read_reached("hostname b\nproxycommand none\n").plain


def test_an_older_python_says_so_itself() -> None:
    """The line that starts the pack is read by any Python 3: one that is too old ends with its version."""
    old = f"import sys; sys.version_info = (3, 6, 9); sys.version = '3.6.9 (old)'; exec({REMOTE.split(chr(39))[1]!r})"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", old], input="", capture_output=True, text=True, check=True)
    assert read_line(done.stdout, "10.66.0.2", "b") == Refused(
        "its python3 is 3.6.9, and the responder needs 3.9 or newer"
    )
