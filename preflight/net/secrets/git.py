"""Secrets in git repositories: the tree that is checked out, and the history as far as a few seconds reach.

git runs without pager, network, hooks, external diffs and text conversion, so a stranger's repository cannot make it
run anything. The secrets to look for are sent on standard input, never as arguments.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from preflight.model.leaks import Leak, Repository
from preflight.programs import find, search_path
from preflight.proto.secrets.gitlog import VARIABLE_PATTERN, Line, commits, grep_lines, log_lines

TREE_S = 4.0
HISTORY_S = 4.0
"""How long the search of the tree may take, and then that of the whole history."""
MOST_BYTES = 8 * 1024 * 1024
"""How much of the matching lines is read."""
SHORTEST_OWN = 12
"""A shorter secret could appear in a text by chance."""
PATTERNS = (
    "*.yml", "*.yaml", "*.json", "*.toml", "*.ini", "*.cfg", "*.conf", "*.properties", "*.tf", "*.tfvars", "*.hcl",
    "*.env", "*.env.*", ".env*", "*/.env*", "*.envrc", "*.service", "*.container", "*.sh", "*Dockerfile*",
)  # fmt: skip
"""Configuration and deployment files. Source code and prose name the variables for other reasons."""

_HARDENED = ("--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
_PATCH = (
    "-p", "-U0", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-show-signature",
    "--src-prefix=a/", "--dst-prefix=b/", "--format=%x00%h",
)  # fmt: skip


_FATAL = 128
_LEFTOVERS_S = 1.0
"""How long the pipes of an ended git may stay open: something that git started could still hold them."""


class Git:
    """Looks for secrets in repositories. own: this node's secret values; files: where it keeps them, by name."""

    def __init__(self, own: Iterable[str] = (), files: Mapping[str, Path] | None = None) -> None:
        self._own = tuple(own)
        self._files = dict(files or {})

    async def search(self, folder: Path) -> Repository | None:
        """What the repository around a folder holds; None where there is none."""
        root = repository_of(folder)
        if root is None:
            return None
        git = find("git")
        if git is None:
            return Repository(root, missing_tool=True)
        run = _Run(git, root)
        run.allow(TREE_S)
        tree = await self._tree(run)
        if run.refusal:
            return Repository(root, unread=run.refusal)
        run.allow(HISTORY_S)
        past, seen = await self._past(run)
        files = await self._committed_files(run, {leak.path for leak in (*tree, *past)})
        return Repository(root, _distinct([*tree, *past, *files]), seen, unfinished=run.unfinished or run.refusal)

    async def _tree(self, run: "_Run") -> list[Leak]:
        """HEAD: variables with a literal value, then this node's own secrets anywhere."""
        if not (await run("rev-parse", "-q", "--verify", "HEAD")).strip():
            return []
        grep = ("grep", "-z", "-n", "-I", "--no-color")
        found = await run(*grep, "-A1", "-E", "-e", VARIABLE_PATTERN, "HEAD", "--", *PATTERNS)
        tree = await _leaks(grep_lines(found), self._own)
        own = "\n".join(value for value in self._own if len(value) >= SHORTEST_OWN and "\n" not in value)
        if own:
            lines = grep_lines(await run(*grep, "-F", "-f", "-", "HEAD", text=own))
            named = {(leak.path, leak.line) for leak in tree}
            tree += [
                Leak(line.path, "a secret of this node", line.number)
                for line in lines
                if (line.path, line.number) not in named
            ]
        return tree

    async def _past(self, run: "_Run") -> tuple[list[Leak], int]:
        """What any commit added, and how many commits fit the rule."""
        log = await run("log", "--all", *_PATCH, "-G", VARIABLE_PATTERN, "--", *PATTERNS)
        return await _leaks(log_lines(log), self._own), commits(log)

    async def _committed_files(self, run: "_Run", known: set[str]) -> list[Leak]:
        """This node's secret files that some commit holds."""
        found = []
        for what, path in self._files.items():
            inside = _inside(run.root, path)
            if inside is None or inside in known:
                continue
            commit = await run("log", "--all", "-1", "--format=%h", "--", inside)
            if commit.strip():
                found.append(Leak(inside, what, commit=commit.decode("ascii", "replace").strip()))
        return found


class _Run:
    """Runs git in one repository; remembers why it failed, and what was cut short."""

    def __init__(self, git: str, root: Path) -> None:
        self.root = root
        self.refusal: str | None = None
        self.unfinished: str | None = None
        self._deadline = self._allowed_s = 0.0
        # A path may be measured just now, so it yields; not so far that on a busy machine its time runs out first.
        nice = find("nice")
        self._words = [*([nice, "-n", "5"] if nice else []), git, *_HARDENED]

    def allow(self, seconds: float) -> None:
        """Start the time limit for everything that follows."""
        self._deadline, self._allowed_s = time.monotonic() + seconds, seconds

    async def __call__(self, *words: str, text: str = "") -> bytes:
        """What it printed, up to `MOST_BYTES`, within the time that is left; nothing after that."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            self.unfinished = f"git {words[0]} did not finish within {self._allowed_s:g} s"
            return b""
        process = await asyncio.create_subprocess_exec(
            *self._words, *words,
            cwd=self.root, env=_environment(),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, said = bytearray(), bytearray()
        try:
            async with asyncio.timeout(left_s):
                await asyncio.gather(_feed(process.stdin, text), _read_some(process, out), _drain(process.stderr, said))
                await process.wait()
        except TimeoutError:
            self.unfinished = f"git {words[0]} did not finish within {self._allowed_s:g} s"
        finally:
            await _end(process)
        if len(out) >= MOST_BYTES:
            self.unfinished = f"git {words[0]} printed more than {MOST_BYTES // 1024 // 1024} MiB"
        if process.returncode == _FATAL and self.refusal is None:
            self.refusal = (said.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"])[0]
        return bytes(out)


async def _feed(pipe: asyncio.StreamWriter | None, text: str) -> None:
    assert pipe is not None
    try:
        pipe.write(text.encode())
        await pipe.drain()
        pipe.close()
        await pipe.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        pass  # it ended without having read all


async def _read_some(process: asyncio.subprocess.Process, into: bytearray) -> None:
    """Its output; the program is ended if it prints more than the limit."""
    await _drain(process.stdout, into)
    if len(into) >= MOST_BYTES:
        _kill(process)
        await _throw_away(process.stdout)


async def _drain(pipe: asyncio.StreamReader | None, into: bytearray) -> None:
    assert pipe is not None
    while len(into) < MOST_BYTES and (chunk := await pipe.read(65536)):
        into += chunk


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it, and throw away what it had printed: asyncio keeps a pipe open, and its process, until all was read.

    Both go on together, as a wait for the process lasts until its pipes are at their end.
    """
    _kill(process)
    with suppress(TimeoutError):
        async with asyncio.timeout(_LEFTOVERS_S):
            await asyncio.gather(_throw_away(process.stdout), _throw_away(process.stderr), process.wait())


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()


async def _throw_away(pipe: asyncio.StreamReader | None) -> None:
    while pipe is not None and await pipe.read(65536):
        pass


def _environment() -> dict[str, str]:
    """The caller's environment, less what would point git elsewhere; no transport is allowed, so it fetches nothing."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    kept = {name: value for name, value in kept.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
    calm = {"GIT_ALLOW_PROTOCOL": "none", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    return kept | calm | {"PATH": search_path()}


async def _leaks(lines: Iterable[Line], own: Sequence[str]) -> list[Leak]:
    """The rule's verdict on candidate lines, in a thread: the event loop may be measuring a path."""
    candidates = list(lines)
    return await asyncio.to_thread(_judged, candidates, own) if candidates else []


def _judged(candidates: Sequence[Line], own: Sequence[str]) -> list[Leak]:
    from preflight.net.secrets.detector import leaks  # imports a good deal, so only where there is something to judge

    return list(leaks(candidates, own))


def _distinct(leaks: Sequence[Leak]) -> tuple[Leak, ...]:
    """The first of each file and variable: in the tree, else in the youngest commit."""
    first: dict[tuple[str, str], Leak] = {}
    for leak in leaks:
        first.setdefault((leak.path, leak.what), leak)
    return tuple(first.values())


def repository_of(folder: Path) -> Path | None:
    """The folder of the work tree around `folder`, by its `.git`; None where there is none."""
    folder = folder.absolute()
    try:
        return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), None)
    except OSError:
        return None


def _inside(root: Path, path: Path) -> str | None:
    """A path as the repository names it; None if it is outside the repository."""
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except (ValueError, OSError):
        return None
