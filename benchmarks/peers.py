"""The path-MTU tools that we measure against: how to run each, and how to read its output.

Packages from PyPI go into a separate environment, `.venv-bench`, so that they never mix with our locked versions;
`bin/bench` installs the Debian programs. A tool that cannot be installed is reported as missing.
"""

import re
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

ENVIRONMENT = Path(__file__).resolve().parent.parent / ".venv-bench"
REQUIREMENTS = ("automtu==1.1.1", "pmtu-diag==1.6", "icmplib==3.0.4", "scapy==2.8.0")

# Bisects between the least that the overlay must carry and the interface's MTU. $3 asks with one packet of `size`.
BISECTION = """
low=1279 high=$(($2 + 1))
while [ $((high - low)) -gt 1 ]; do
  size=$(((low + high) / 2))
  if %s; then low=$size; else high=$size; fi
done
echo "$low"
"""
PING = 'ping -M do -c1 -W1 -q -s $((size - 28)) "$1" >/dev/null 2>&1'
FPING = 'fping -M -c1 -t1000 -q -b $((size - 28)) "$1" >/dev/null 2>&1'
MTR = 'mtr -n -r -c1 -G1 -s $size "$1" 2>/dev/null | grep -q -- "-- $1 .* 0.0%"'

IN_PYTHON = """
import sys
%s
low, high = 1279, int(sys.argv[2]) + 1
while high - low > 1:
    size = (low + high) // 2
    low, high = (size, high) if passes(sys.argv[1], size) else (low, size)
print(low)
"""
ICMPLIB = """
from icmplib import ping
def passes(address, size):
    return ping(address, count=1, timeout=1, payload_size=size - 28).is_alive
"""
SCAPY = """
import logging
logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import ICMP, IP, L3RawSocket, Raw, conf, sr1
conf.L3socket = L3RawSocket
def passes(address, size):
    try:
        answer = sr1(IP(dst=address, flags="DF") / ICMP() / Raw(bytes(size - 28)), timeout=1, verbose=0)
    except OSError:
        return False
    return answer is not None and answer.haslayer(ICMP) and answer[ICMP].type == 0
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One tool. command: words that search the path MTU to an address below a ceiling; program: what it needs.

    read: the answer, bytes, in what it printed; None if there is none.
    """

    name: str
    program: str
    command: Callable[[str, int], Sequence[str]]
    read: Callable[[str], int | None]

    @property
    def missing(self) -> bool:
        """Whether it is not there, nor could be installed."""
        return which(self.program) is None


def _last_number(output: str) -> int | None:
    numbers = re.findall(r"\d+", output)
    return int(numbers[-1]) if numbers else None


def _after(words: str) -> Callable[[str], int | None]:
    """The last number that follows these words."""

    def read(output: str) -> int | None:
        found = re.findall(words + r"\D*?(\d+)", output)
        return int(found[-1]) if found else None

    return read


def _bisection(test: str) -> Callable[[str, int], Sequence[str]]:
    return lambda address, ceiling: ("sh", "-c", BISECTION % test, "sh", address, str(ceiling))


def _scripted(functions: str) -> Callable[[str, int], Sequence[str]]:
    python = str(ENVIRONMENT / "bin" / "python")
    return lambda address, ceiling: (python, "-c", IN_PYTHON % functions, address, str(ceiling))


def _automtu(address: str, ceiling: int) -> Sequence[str]:
    options = ("--dry-run", "--print-mtu", "effective", "--pmtu-target", address)
    return (str(ENVIRONMENT / "bin" / "automtu"), *options)


def _pmtu_diag(address: str, ceiling: int) -> Sequence[str]:
    return (str(ENVIRONMENT / "bin" / "pmtu-diag"), address)


PEERS = (
    Peer("ping bisection", "ping", _bisection(PING), _last_number),
    Peer("fping bisection", "fping", _bisection(FPING), _last_number),
    Peer("icmplib bisection", str(ENVIRONMENT / "bin" / "python"), _scripted(ICMPLIB), _last_number),
    Peer("scapy bisection", str(ENVIRONMENT / "bin" / "python"), _scripted(SCAPY), _last_number),
    Peer("automtu", str(ENVIRONMENT / "bin" / "automtu"), _automtu, _last_number),
    Peer("mtr bisection", "mtr", _bisection(MTR), _last_number),
    Peer("pmtu-diag", str(ENVIRONMENT / "bin" / "pmtu-diag"), _pmtu_diag, _after("path MTU")),
    Peer("tracepath", "tracepath", lambda address, _: ("tracepath", "-n", address), _after("pmtu")),
)


def install() -> None:
    """Make the environment if it is not there. Without a package index the peers in it are missing, no more."""
    stamp = ENVIRONMENT / ".installed"
    wanted = "\n".join(REQUIREMENTS)
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    print(f"installing {', '.join(REQUIREMENTS)} into {ENVIRONMENT.name}", file=sys.stderr)
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if subprocess.run([*pip, *REQUIREMENTS], check=False, stdout=sys.stderr.fileno()).returncode == 0:
        stamp.write_text(wanted, encoding="ascii")
