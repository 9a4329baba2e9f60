"""Keeps what `dataclass` compiles, next to the compiled modules, as Python keeps those.

For each class the standard library writes the text of up to six functions, and compiles it at every start: for the four
hundred classes of a run that took a quarter of its CPU time. Where nothing may be kept, as by `python -B` or in a
folder that this user may not write to, each start compiles as before.
"""

import marshal
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import CodeType
from typing import Any

MOST = 8_000
"""Texts that are kept. A run has 2400; a tree in development goes through many, and with more all are forgotten."""
_TEXTS, _NAME = "exec", "<string>"


class Kept:
    """The compiled texts of one file. `python`: only the same interpreter understands them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._python = f"{sys.version} {sys.flags.optimize}"
        self._codes: dict[str, bytes] = {}
        self._new = False
        with suppress(OSError, EOFError, ValueError, TypeError):
            python, codes = marshal.loads(path.read_bytes())  # noqa: S302 - our modules are in the same folder
            if python == self._python:
                self._codes = codes

    def execute(self, text: str | CodeType, names: dict[str, Any], into: Mapping[str, object] | None = None) -> None:
        """Like `exec`, without compiling a text that was compiled before."""
        exec(self._compiled(text) if isinstance(text, str) else text, names, into)  # noqa: S102 - it replaces it

    def _compiled(self, text: str) -> CodeType:
        known = self._codes.get(text)
        if known is not None:
            code: CodeType = marshal.loads(known)  # noqa: S302 - as above
            return code
        code = compile(text, _NAME, "exec", dont_inherit=True)
        self._codes[text] = marshal.dumps(code)
        self._new = True
        return code

    def save(self) -> None:
        """Write the file if anything is new, whole or not at all; silently not where that is impossible."""
        if not self._new or sys.dont_write_bytecode:
            return
        codes = self._codes if len(self._codes) <= MOST else {}
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with suppress(OSError):
            new.touch(exist_ok=False)  # nobody else's: in containers that share a folder two have this id
            try:
                new.write_bytes(marshal.dumps((self._python, codes)))
                new.replace(self._path)
            finally:
                new.unlink(missing_ok=True)


def keep() -> Kept | None:
    """From now on `dataclass` compiles nothing twice; None where Python keeps no compiled modules of ours either."""
    import dataclasses

    cached = __spec__.cached
    if cached is None:
        return None
    kept = Kept(Path(cached).with_suffix(".texts"))
    setattr(dataclasses, _TEXTS, kept.execute)  # a module's own name goes before the built-in one
    return kept
