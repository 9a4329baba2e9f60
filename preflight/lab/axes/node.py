"""What a is like: its firewall, its filters, another VPN, its namespace and its user."""

from preflight.lab import firewalls, hosts, routes, users
from preflight.lab.axes.axis import Axis, Value

_UNPRIVILEGED = frozenset({"run.needs-privilege"})
"""An ordinary user may not read WireGuard's sessions, and nothing is broken."""

AXES = {
    "firewall": Axis(
        "What do the members' firewalls let pass?",
        {
            "open": Value("everything"),
            "nftables": Value("only what is needed, by nftables", (firewalls.nftables(),)),
            "legacy": Value("only what is needed, by iptables-legacy", (firewalls.iptables_legacy(),)),
        },
    ),
    "filter": Axis(
        "Which reverse-path filter do all members have?",
        {
            "loose": Value("the machine's default"),
            "strict": Value("strict", tuple(routes.reverse_path_filter(node, 1) for node in ("a", "b", "c"))),
        },
    ),
    "second_vpn": Axis(
        "Does a have a second VPN?",
        {"none": Value("no"), "other": Value("a WireGuard of another owner", (hosts.second_vpn(),))},
    ),
    "namespace": Axis(
        "Where is a's tunnel?",
        {
            "host": Value("in the same namespace as its uplink"),
            "container": Value("in a container, moved there by its host", (hosts.container(),)),
            "vrf": Value("in a VRF", (hosts.vrf(),), virtual_machine=True),
        },
    ),
    "user": Axis(
        "Who runs preflight?",
        {"root": Value("root"), "ordinary": Value("an ordinary user", (users.ordinary(),), _UNPRIVILEGED)},
    ),
}
