"""Where this node's OpenVPN client sends, from its process and its configuration file: read only."""

from pathlib import Path

from preflight.overlay.daemons import PROC, processes
from preflight.overlay.openvpn_process import read_options
from preflight.proto.way.openvpn import Remote, remote_in


def openvpn_remote(proc: Path = PROC) -> Remote | None:
    """The remote end of the only OpenVPN client in this network namespace; None if that is not known.

    It needs root: what another user's process has open is that user's.
    """
    found = {remote for process in processes("openvpn", proc) if (remote := _remote(process)) is not None}
    return found.pop() if len(found) == 1 else None


def _remote(process: Path) -> Remote | None:
    options = read_options(process)
    return remote_in(options) if options is not None else None
