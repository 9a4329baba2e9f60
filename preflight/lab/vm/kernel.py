"""Debian's cloud kernel for the virtual machine: downloaded by apt, unpacked in a cache, never installed.

An installed kernel would run hooks and change how this host boots. apt checks the signatures. The kernel stays in the
cache until somebody removes it there; then the next machine gets the newest.
"""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from preflight.lab.names import LabError
from preflight.lab.processes import program, run

PACKAGE = "linux-image-cloud-amd64"
_DOWNLOAD_LIMIT_S = 300.0
_UNPACK_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel: the folder with its packages' files, and its version."""

    folder: Path
    version: str

    @property
    def image(self) -> Path:
        """What the machine boots."""
        return self.folder / "boot" / f"vmlinuz-{self.version}"

    @property
    def modules(self) -> Path:
        """The folder of folders of modules, one a version: what is /lib/modules in the machine."""
        return self.folder / "lib" / "modules"

    @property
    def busybox(self) -> Path:
        """The machine's first programs in one file that needs no library."""
        return self.folder / "bin" / "busybox"

    def load_order(self, names: Iterable[str]) -> list[Path]:
        """The files of these modules and of those that they need, each behind what it needs."""
        home = self.modules / self.version
        lines = (home / "modules.dep").read_text(encoding="ascii").splitlines()
        needs = {
            Path(path).stem: [path, *others.split()] for path, _, others in (line.partition(":") for line in lines)
        }
        return [home / path for path in dict.fromkeys(path for name in names for path in reversed(needs[name]))]


def cache() -> Path:
    """Where unpacked kernels are."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "preflight" / "vm"


def ready_kernel() -> Kernel:
    """The newest kernel of the cache; if there is none, Debian's, which is downloaded now. Raises LabError."""
    return _cached() or _downloaded()


def _cached() -> Kernel | None:
    images = sorted(cache().glob("*/boot/vmlinuz-*"), key=lambda image: image.stat().st_mtime)
    return Kernel(images[-1].parents[1], images[-1].name.partition("-")[2]) if images else None


def _downloaded() -> Kernel:
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="download-", dir=cache()) as name:
        folder = Path(name)
        _download(folder, [_newest(), "busybox-static"])
        unpacked = folder / "unpacked"
        for package in folder.glob("*.deb"):
            run([program("dpkg-deb"), "-x", str(package), str(unpacked)], timeout=_UNPACK_LIMIT_S)
        image = next(unpacked.glob("boot/vmlinuz-*"))
        kernel = Kernel(unpacked, image.name.partition("-")[2])
        run([str(kernel.busybox), "depmod", "-b", str(unpacked), kernel.version], timeout=_UNPACK_LIMIT_S)
        try:
            unpacked.rename(cache() / kernel.version)
        except OSError:
            pass  # another command was faster: what it left is used
    found = _cached()
    if found is None:
        raise LabError(f"the kernel of the virtual machine cannot be kept in {cache()}")
    return found


def _newest() -> str:
    """The package of the newest kernel, on which Debian's metapackage depends."""
    try:
        shown = run([program("apt-cache"), "depends", "--important", PACKAGE])
    except LabError:
        shown = ""
    words = [line.split() for line in shown.splitlines()]
    found = next((word[1] for word in words if word[0] == "Depends:" and word[1].startswith("linux-image-")), None)
    if found is None:
        raise LabError(
            f"apt does not know {PACKAGE}, the kernel of the virtual machine: Debian on amd64 has it (apt-get update)"
        )
    return found


def _download(folder: Path, packages: list[str]) -> None:
    """Into that folder: apt-get puts what it downloads where it is started."""
    words = [program("env"), "-C", str(folder), program("apt-get"), "-qq", "download", *packages]
    try:
        run(words, timeout=_DOWNLOAD_LIMIT_S)
    except LabError as error:
        raise LabError(f"{error} (apt-get update may help)") from None
