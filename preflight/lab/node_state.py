"""What a fix may touch on a node of a lab, as other programs show it: to compare before and after."""

import shlex
import subprocess

from preflight.fixing.state import plain
from preflight.lab.labs import Lab

PATIENCE_S = 60.0
_NETWORK = (
    ("ip", "-o", "link", "show"),
    ("ip", "-o", "address", "show"),
    ("ip", "-4", "route", "show", "table", "all"),
    ("ip", "-6", "route", "show", "table", "all"),
)
_VIEWS = (
    "ip -4 rule show",
    "ip -6 rule show",
    "nft list ruleset",
    "sysctl net.ipv4.conf net.ipv4.ip_forward",
    "cat /etc/hosts /etc/nsswitch.conf /etc/resolv.conf",
)
# Programs of other labs answer too, each time in another order.
_TUNNELS = "for name in $(ls /sys/class/net); do wg show $name allowed-ips; wg show $name persistent-keepalive; done"


def node_state(lab: Lab, node: str = "a") -> list[str]:
    """Its links, addresses, routes, rules, tunnels, settings of the kernel and names, and the settings file of node a.

    Without counters and lifetimes, and what the kernel makes again for each link with IPv6.
    """
    lines = [line for words in _NETWORK for line in plain(words, "\n".join(_shown(lab, node, shlex.join(words))))]
    lines += [line for view in _VIEWS for line in _shown(lab, node, view) if "counter packets" not in line]
    lines += sorted(_shown(lab, node, f"({_TUNNELS}) 2>/dev/null"))
    file = lab.names.files(node) / "preflight.yaml"
    return [*lines, *(file.read_text(encoding="utf-8").splitlines() if file.exists() else ())]


def _shown(lab: Lab, node: str, view: str) -> list[str]:
    words = lab.command(["/bin/sh", "-c", f"PATH=$PATH:/usr/sbin:/sbin; {view}"], node)
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=PATIENCE_S, env=lab.environment())
    return done.stdout.splitlines()
