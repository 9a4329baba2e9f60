"""The first step on a node: is its Python fit, where do our files go, is the delivery there already?

Arguments: the run's id, the delivery's hash, the controller's Python version as 3.11, its machine as x86_64, and
perhaps the folder for deliveries. Prints one line of JSON. It also runs on a Python that is too old for everything
else, to say so.
"""

import json
import os
import platform
import stat
import sys
import time
from pathlib import Path

UNFIT = 3
"""The exit code of a node whose Python does not fit the delivery, or whose folder is not ours alone."""


def main(run: str, delivery: str, version: str, machine: str, folder: str = "") -> int:
    """Make the folder that the delivery goes to."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if (own, platform.machine()) != (version, machine):
        found = f"Python {own} on {platform.machine()}"
        sys.stderr.write(f"the node has {found}, and the delivery is for Python {version} on {machine}\n")
        return UNFIT
    root = os.geteuid() == 0
    cache = Path("/var/cache/overlay-preflight") if root else Path.home() / ".cache" / "overlay-preflight"
    base = Path(folder) if folder else cache
    runtime = Path("/run" if root else os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}"))
    if not runtime.is_dir():
        runtime = base
    incoming = base / f"run-{run}"
    incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = base.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        sys.stderr.write(f"{base} may be written by others\n")
        return UNFIT
    place = {
        "have": (base / delivery).exists(),
        "folder": str(base / delivery),
        "incoming": str(incoming),
        "run_folder": str(runtime / f"preflight-fleet-{run}"),
        "python": sys.executable,
        "monotonic": time.monotonic(),
    }
    sys.stdout.write(json.dumps(place) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
