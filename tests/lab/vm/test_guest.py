"""The text that the machine runs."""

import shlex
import subprocess
from pathlib import Path

import pytest

from preflight.lab.vm.guest import command, first_program


def test_the_host_s_root_is_read_only() -> None:
    """The lab is root in the machine: whatever it does there, this host's files stay as they are."""
    lines = first_program(Path("/cache/lib/modules"), {}).splitlines()
    (host,) = [line for line in lines if line.endswith(" /host")]
    assert host == "mount -t virtiofs -o ro root /host"
    assert "lowerdir=/host,upperdir=/layer/changes" in "".join(lines)


def test_a_program_may_read_its_own_descriptors_as_files() -> None:
    """wg-quick hands its settings on as /dev/fd/63, and the kernel's own /dev has no such names."""
    text = first_program(Path("/m"), {})
    assert "ln -s /proc/self/fd dev/fd" in text
    assert 'for number in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${number%:*}" "dev/${number#*:}"; done' in text


def test_shared_folders_are_mounted_where_they_are_on_the_host() -> None:
    """A path means the same on both sides, and a folder inside another one is not hidden by it."""
    text = first_program(Path("/m"), {"share0": Path("/out/inner one"), "share1": Path("/out")})
    mounts = [shlex.split(line) for line in text.splitlines() if "virtiofs share" in line]
    assert [words[-2:] for words in mounts] == [["share1", "./out"], ["share0", "./out/inner one"]]


@pytest.mark.parametrize("value", ["", "a b", "it's", 'say "no"', "$HOME `id`", "two\nlines"])
def test_the_command_is_what_was_asked_for(value: str, tmp_path: Path) -> None:
    """Words and variables pass a shell in the machine, which changes none of them; the exit code comes back."""
    words = ["sh", "-c", 'printf %s "$1$WORD" && pwd >&2 && exit 7', "sh", value]
    folder = tmp_path / "a b"
    folder.mkdir()
    script = command(words, {"WORD": value, "PATH": "/usr/bin:/bin"}, folder, tmp_path)
    # The last line ends the machine.
    subprocess.run(["sh", "-c", script.rpartition("/run/preflight-vm/busybox")[0]], check=True)
    assert (tmp_path / "stdout").read_text() == value * 2
    assert (tmp_path / "stderr").read_text() == f"{folder}\n"
    assert (tmp_path / "exit-code").read_text() == "7\n"
    assert (tmp_path / "started").exists()
