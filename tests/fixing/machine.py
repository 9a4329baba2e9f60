"""A machine that is only a table: an interface with an MTU, which commands read and write."""

from collections.abc import Sequence
from pathlib import Path

from preflight.fixing.applier import Ran


class Machine:
    """mtu: of wg0. failing: a word of the commands that fail. ran: the changing commands, without their paths."""

    def __init__(self, failing: str = "") -> None:
        self.mtu = 1420
        self.failing = failing
        self.ran: list[tuple[str, ...]] = []

    def __call__(self, argv: Sequence[str]) -> Ran:
        """Run one command."""
        words = (Path(argv[0]).name, *argv[1:])
        if self.failing and self.failing in words:
            return Ran(2, "", "no\n")
        if "-json" in words:
            return Ran(0, f'[{{"mtu": {self.mtu}}}]')
        if words[1:4] == ("-o", "link", "show"):
            return Ran(0, f"4: wg0: <UP> mtu {self.mtu} qdisc noqueue\n")
        if "set" in words:
            self.ran.append(words)
            self.mtu = int(words[-1])
        return Ran(0, "")
