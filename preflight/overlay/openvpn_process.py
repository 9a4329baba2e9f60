"""The options of an OpenVPN process: its command line and its configuration file, as it sees that; read only."""

from pathlib import Path
from typing import Final

from preflight.overlay.daemons import arguments, as_it_sees
from preflight.proto.way.openvpn import Options, config_of, options_of

_MOST_BYTES: Final = 1_000_000


def read_options(process: Path) -> Options | None:
    """All of its options, those of the file first; None where they may not be read. They may hold keys."""
    try:
        words = arguments(process)
        name = config_of(words)
        return options_of(words, "" if name is None else _read(as_it_sees(process, name)))
    except OSError:
        return None


def read_file(file: Path) -> Options | None:
    """The options of a configuration file; None where it may not be read."""
    try:
        return options_of((), _read(file))
    except OSError:
        return None


def _read(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(_MOST_BYTES).decode("utf-8", "replace")
