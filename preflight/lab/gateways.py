"""A gateway in a lab: one program of Debian that stays in the foreground, so that it keeps the mark of its lab."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from preflight.lab.front import Front, Stand
from preflight.lab.processes import program, start, wait_for_words

READY_S = 10.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """How one kind of gateway is started.

    words: of its command line, with `{config}` and `{log}`. main: the text of its configuration around the parts that
    serve, `{servers}`, with `{folder}` and `{name}`. ready: what it prints when all of its sockets listen.
    environment: variables, with `{folder}`. servers: makes those parts.
    """

    program: str
    words: tuple[str, ...]
    ready: str
    main: str
    servers: Callable[[Front, Stand], str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """One gateway of a lab. folder: for its files; command: runs a program at its place in the lab."""

    gateway: Gateway
    name: str
    folder: Path
    mark: str
    command: Callable[[Sequence[str]], list[str]]

    def start(self, servers: str) -> Callable[[float], None]:
        """Start it with these servers; call what is returned, with a deadline, to wait until it listens.

        Raises LabError if the program is missing.
        """
        config, log = self.folder / f"{self.name}.conf", self.folder / f"{self.name}.log"
        text = self.gateway.main.format(folder=self.folder, name=self.name, servers=servers)
        config.write_text(text, encoding="utf-8")
        variables = {name: value.format(folder=self.folder) for name, value in self.gateway.environment.items()}
        words = [each.format(config=config, log=log) for each in self.gateway.words]
        line = self.command([program(self.gateway.program), *words])
        daemon = start(self.name, line, mark=self.mark, log=log, environment=variables)
        return partial(wait_for_words, daemon, self.gateway.ready, 1)

    def start_now(self, servers: str) -> None:
        """Start it and wait."""
        self.start(servers)(time.monotonic() + READY_S)
