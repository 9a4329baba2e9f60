"""What the virtual machine does: its first program, and the command that it runs; pure text.

Its root is this host's, which the machine can only read, below a layer in memory that takes all writes. So it has the
same Python, the same programs and the same files, and nobody has to make an image. What is to stay is written into
folders of this host that are mounted as they are.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

BOOT_MODULES = ("virtio_pci", "virtiofs", "overlay", "tun")
ROOT_TAG = "root"

_FIRST_PROGRAM = """#!/bin/busybox sh
set -e
for word in mount mkdir cp ln chroot ifconfig hostname insmod; do alias $word="/bin/busybox $word"; done
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module"; done </load-order

mount -t virtiofs -o ro {root_tag} /host
mount -t tmpfs -o mode=755 layer /layer
mkdir /layer/changes /layer/work /layer/root
mount -t overlay -o lowerdir=/host,upperdir=/layer/changes,workdir=/layer/work overlay /layer/root
cd /layer/root

mount --bind /dev dev
ln -s /proc/self/fd dev/fd
for number in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${{number%:*}}" "dev/${{number#*:}}"; done
mkdir -p dev/pts dev/shm
mount -t devpts pts dev/pts
mount -t tmpfs shm dev/shm
mount --move /proc proc
mount --move /sys sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mkdir -p run/preflight-vm lib/modules
mount --bind .{modules} lib/modules
{shares}
cp /bin/busybox /command run/preflight-vm
ln -s busybox run/preflight-vm/modprobe
echo /run/preflight-vm/modprobe >proc/sys/kernel/modprobe
hostname preflight-vm
ifconfig lo up

mount --move . /
exec /bin/busybox chroot . /bin/sh /run/preflight-vm/command
"""

_COMMAND = """>{results}/started
cd {folder} && env -i {environment} {words} </dev/null >{results}/stdout 2>{results}/stderr
echo $? >{results}/exit-code
/run/preflight-vm/busybox poweroff -f
"""


def first_program(modules: Path, shares: Mapping[str, Path]) -> str:
    """The program that the kernel starts. shares: folders of the host that are written to, by their tags."""
    lines = []
    for tag, folder in sorted(shares.items(), key=lambda item: item[1]):
        place = shlex.quote(f".{folder}")
        lines += [f"mkdir -p {place}", f"mount -t virtiofs {tag} {place}"]
    return _FIRST_PROGRAM.format(root_tag=ROOT_TAG, modules=shlex.quote(str(modules)), shares="\n".join(lines))


def command(words: Sequence[str], environment: Mapping[str, str], folder: Path, results: Path) -> str:
    """The script that runs these words in that folder, leaves what they print in `results`, and ends the machine."""
    return _COMMAND.format(
        folder=shlex.quote(str(folder)),
        environment=shlex.join(f"{key}={value}" for key, value in environment.items()),
        words=shlex.join(words),
        results=shlex.quote(str(results)),
    )
