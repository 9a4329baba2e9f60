"""Tunnels as the real wg-quick makes them from its file: addresses, routes, rules of policy routing, and mark.

`PreUp` lines add what people write there themselves.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from preflight.lab.blueprint import Blueprint
from preflight.lab.keys import TunnelKeys, tunnel_config
from preflight.lab.names import LabError
from preflight.lab.processes import MARK, clean_environment

_ENDPOINT = re.compile(r"^Endpoint = \[?([0-9a-f.:]+?)\]?:\d+$", re.MULTILINE)


def quick_file(plan: Blueprint, keys: Mapping[str, TunnelKeys], node: str, peers: Sequence[str]) -> str:
    """The file of a node's tunnel to some peers, for /etc/wireguard."""
    addresses = (f"{plan.address(node, family)}/{32 if family == 4 else 128}" for family in plan.families)
    text = tunnel_config(plan, keys, node, peers)
    lines = [f"Address = {', '.join(addresses)}", f"MTU = {plan.tunnel_mtu}"]
    if plan.routes == "halves":
        lines += _routes_to_endpoints(text)
    return text.replace("[Peer]", "\n".join([*lines, "[Peer]"]), 1)


def _routes_to_endpoints(text: str) -> Iterator[str]:
    """Routes by the gateway of now, as OpenVPN makes them: the halves would send the tunnel's packets into itself."""
    for host in _ENDPOINT.findall(text):
        ip = f"ip -{6 if ':' in host else 4} route"
        yield f"PreUp = {ip} add {host} $({ip} show default | head -n 1 | cut -d ' ' -f 2-)"
        # Without it the tunnel could not be started a second time.
        yield f"PostDown = {ip} del {host}"


def up(argv: Sequence[str], *, mark: str, log: Path, timeout: float) -> None:
    """Run wg-quick. wireguard-go inherits the mark of a daemon of the lab. Raises LabError with its error message."""
    with log.open("wb") as sink:
        # Not by `run`: wireguard-go goes on with the same output, and its end would be awaited.
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=clean_environment(os.environ) | {MARK: mark},
            timeout=timeout,
            check=False,
        )
    if done.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        # What it does is marked so, also what it does to clean up behind an error.
        said = [line for line in lines if not line.startswith("[#]")] or lines
        raise LabError(f"{log.stem} failed: {said[-1] if said else f'exit code {done.returncode}'}")
