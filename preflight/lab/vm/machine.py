"""Boot the virtual machine, run one command in it, hand on what it prints, and return its exit code.

The machine emulates its processor, so that it needs no KVM, and has no network. Its clock counts instructions, one
nanosecond each: however busy this host is, time-outs inside are as long as on a machine of that speed.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from preflight.lab.names import LabError
from preflight.lab.processes import program
from preflight.lab.signals import interruptible
from preflight.lab.vm.archive import pack
from preflight.lab.vm.guest import BOOT_MODULES, ROOT_TAG, command, first_program
from preflight.lab.vm.kernel import Kernel, ready_kernel
from preflight.programs import find

MEMORY = "2G"
BOOT_LIMIT_S = 300.0
_LOOK_AGAIN_S = 0.1
_VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
_PROCESSOR = ["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "1", "-icount", "shift=0,sleep=on"]
_BARE = ["-no-user-config", "-nodefaults", "-display", "none", "-nic", "none", "-no-reboot"]
_KERNEL_OPTIONS = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off norandmaps random.trust_cpu=on"


def run(
    words: Sequence[str],
    *,
    shared: Iterable[Path] = (),
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> int:
    """Run this command line in a new machine, in our folder and with our environment; return its exit code.

    shared: folders of this host that it may write to. environment: variables that are added. Raises LabError if there
    can be no machine, or it ends too early or too late; KeyboardInterrupt after a signal. No machine is left.
    """
    qemu, virtiofsd = _programs()
    kernel = ready_kernel()
    with interruptible(), ExitStack() as stack:
        results = Path(stack.enter_context(_folder()))
        folders = {folder.resolve() for folder in (*shared, results)}
        shares = {f"share{number}": folder for number, folder in enumerate(sorted(folders))}
        script = command(words, {**os.environ, **(environment or {})}, Path.cwd(), results)
        initrd = results / "initrd"
        initrd.write_bytes(_first_files(kernel, first_program(kernel.modules, shares), script))
        devices = []
        for tag, folder in {ROOT_TAG: Path("/"), **shares}.items():
            devices += stack.enter_context(_served(virtiofsd, tag, folder, results))
        boot = ["-kernel", str(kernel.image), "-initrd", str(initrd), "-append", _KERNEL_OPTIONS]
        memory = ["-object", f"memory-backend-memfd,id=memory,size={MEMORY},share=on", "-numa", "node,memdev=memory"]
        console = ["-serial", f"file:{results / 'console'}", "-m", MEMORY]
        argv = [qemu, *_PROCESSOR, *_BARE, *memory, *console, *boot, *devices]
        machine = stack.enter_context(_started(argv, results / "qemu"))
        _follow(machine, results, limit_s)
        return _exit_code(results)


def _programs() -> tuple[str, str]:
    """qemu and the server of files. Raises LabError that says what is missing."""
    if os.geteuid() != 0:
        raise LabError("the virtual machine reads this host's files as root; run this as root")
    qemu = find("qemu-system-x86_64")
    if qemu is None:
        raise LabError("qemu is missing; install it with: apt-get install --no-install-recommends qemu-system-x86")
    virtiofsd = next((path for path in _VIRTIOFSD if Path(path).exists()), None)
    if virtiofsd is None:
        raise LabError(
            "virtiofsd is missing; install it with: apt-get install virtiofsd (Debian 12: qemu-system-common)"
        )
    return qemu, virtiofsd


@contextmanager
def _folder() -> Iterator[str]:
    """A folder for what passes between the machine and us."""
    folder = tempfile.mkdtemp(prefix="preflight-vm-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _first_files(kernel: Kernel, first: str, script: str) -> bytes:
    """The machine's first file system: enough to find the real one."""
    modules = kernel.load_order(BOOT_MODULES)
    files = {"init": first.encode(), "command": script.encode(), "bin/busybox": kernel.busybox.read_bytes()}
    files |= {f"{folder}/.keep": b"" for folder in ("proc", "sys", "dev", "host", "layer")}
    files |= {"load-order": "".join(f"{module.name}\n" for module in modules).encode()}
    return pack(files | {f"modules/{module.name}": module.read_bytes() for module in modules})


@contextmanager
def _served(virtiofsd: str, tag: str, folder: Path, results: Path) -> Iterator[list[str]]:
    """A folder of this host for the machine, under a tag; yields the options of qemu."""
    if tag != ROOT_TAG and folder == Path("/"):
        raise LabError("the virtual machine writes into no file of /; give the report a folder")
    path = str(results / f"{tag}.socket")
    # We make the socket, so that qemu need not wait for it.
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(path)
        except OSError as error:
            raise LabError(f"{path}: {error.strerror or error}; set TMPDIR to a folder with a shorter path") from None
        listener.listen(1)
        number = listener.fileno()
        options = ["-o", f"source={folder}", "-o", "sandbox=chroot", "-o", "cache=always"]
        with _started([virtiofsd, f"--fd={number}", *options], results / tag, keep=(number,)):
            device = f"vhost-user-fs-pci,chardev={tag},tag={tag}"
            yield ["-chardev", f"socket,id={tag},path={path}", "-device", device]


@contextmanager
def _started(argv: Sequence[str], log: Path, keep: Sequence[int] = ()) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends with the body, and also when we are killed.

    In a new session, as only we are to get Ctrl-C from the terminal.
    """
    bound = [program("setpriv"), "--pdeathsig", "KILL", "--", *argv]
    with log.open("wb") as sink:
        child = subprocess.Popen(
            bound, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, pass_fds=keep, start_new_session=True
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _follow(machine: "subprocess.Popen[bytes]", results: Path, limit_s: float | None) -> None:
    """Hand on what the command prints until the machine ends. Raises LabError if it takes too long."""
    began = time.monotonic()
    ends = {"stdout": sys.stdout, "stderr": sys.stderr}
    for name in ends:
        (results / name).touch()
    with ExitStack() as stack:
        printed = {name: stack.enter_context((results / name).open("rb")) for name in ends}
        running = True
        while running:
            running = not _ended(machine)
            for name, source in printed.items():
                _hand_on(source, ends[name])
            took = time.monotonic() - began
            if running and limit_s is not None and took > limit_s:
                raise LabError(f"the virtual machine did not end within {limit_s:.0f} s: {_last_words(results)}")
            if running and took > BOOT_LIMIT_S and not (results / "started").exists():
                raise LabError(f"the virtual machine did not start within {took:.0f} s: {_last_words(results)}")


def _ended(machine: "subprocess.Popen[bytes]") -> bool:
    try:
        machine.wait(_LOOK_AGAIN_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def _hand_on(source: BinaryIO, end: TextIO) -> None:
    while data := source.read(65536):
        end.buffer.write(data)
        end.flush()


def _exit_code(results: Path) -> int:
    try:
        return int((results / "exit-code").read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise LabError(f"the virtual machine ended before its command did: {_last_words(results)}") from None


def _last_words(results: Path) -> str:
    """The last line of the machine's console, else of qemu and those who serve it files."""
    for name in ("console", "qemu", ROOT_TAG):
        text = (results / name).read_text(encoding="utf-8", errors="replace") if (results / name).exists() else ""
        if lines := [line for line in text.splitlines() if line.strip()]:
            return lines[-1].strip()
    return "it printed nothing"
