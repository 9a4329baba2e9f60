"""Where the machine's kernel comes from: apt, once; here small scripts answer instead of apt."""

from pathlib import Path

import pytest

from preflight.lab.names import LabError
from preflight.lab.vm.kernel import Kernel, cache, ready_kernel

APT_CACHE = 'echo "linux-image-cloud-amd64"; echo "  Depends: linux-image-9.9-cloud-amd64"'
APT_GET = 'echo "$*" >>"$ASKED"; touch kernel.deb busybox.deb'
DPKG_DEB = """
mkdir -p "$3/boot" "$3/bin" "$3/lib/modules/9.9-cloud-amd64"
touch "$3/boot/vmlinuz-9.9-cloud-amd64"
printf '#!/bin/sh\\necho "$*" >>"$ASKED"\\n' >"$3/bin/busybox"
chmod +x "$3/bin/busybox"
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without a kernel, and scripts that write down what they are asked for; the file with that."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in {"apt-cache": APT_CACHE, "apt-get": APT_GET, "dpkg-deb": DPKG_DEB}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "asked"


def test_the_kernel_is_downloaded_once(asked: Path) -> None:
    """The second machine starts without the network; and only the unpacked kernel is kept."""
    kernel = ready_kernel()
    assert kernel.version == "9.9-cloud-amd64"
    assert all(path.exists() for path in (kernel.image, kernel.modules / kernel.version, kernel.busybox))
    first = asked.read_text().splitlines()
    assert first[0] == "-qq download linux-image-9.9-cloud-amd64 busybox-static"
    assert first[1].startswith("depmod -b ")
    assert ready_kernel() == kernel
    assert asked.read_text().splitlines() == first
    assert list(cache().iterdir()) == [kernel.folder]


def test_an_apt_that_knows_no_such_kernel(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution, or lists that were never fetched: one sentence with what may help."""
    (asked.parent / "programs" / "apt-cache").write_text("#!/bin/sh\nexit 100\n")
    with pytest.raises(LabError, match=r"apt does not know linux-image-cloud-amd64.*apt-get update"):
        ready_kernel()
    assert list(cache().iterdir()) == []


def test_a_download_that_fails(asked: Path) -> None:
    """What apt says is passed on, with the usual reason: its lists are older than the archive."""
    (asked.parent / "programs" / "apt-get").write_text("#!/bin/sh\necho 'E: 404  Not Found' >&2\nexit 100\n")
    with pytest.raises(LabError, match=r"404  Not Found.*apt-get update may help"):
        ready_kernel()


def test_modules_are_loaded_behind_what_they_need(tmp_path: Path) -> None:
    """insmod resolves nothing: a wrong order leaves the machine without its disk."""
    home = tmp_path / "lib" / "modules" / "9"
    home.mkdir(parents=True)
    lines = [
        "k/pci.ko: k/modern.ko k/ring.ko",
        "k/modern.ko:",
        "k/ring.ko:",
        "k/fs.ko: k/fuse.ko k/ring.ko",
        "k/fuse.ko:",
    ]
    (home / "modules.dep").write_text("\n".join([*lines, ""]))
    order = [path.stem for path in Kernel(tmp_path, "9").load_order(["pci", "fs"])]
    assert order == ["ring", "modern", "pci", "fuse", "fs"]
