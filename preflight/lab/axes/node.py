"""What a is like: its firewall, its filters, another VPN, its namespace and its user."""

from preflight.lab import routes
from preflight.lab.axes.axis import Axis, Value

AXES = {
    "firewall": Axis("What do the firewalls of a and b let in?", {"open": Value("everything")}),
    "filter": Axis(
        "Which reverse-path filter do all members have?",
        {
            "loose": Value("the machine's default"),
            "strict": Value("strict", tuple(routes.reverse_path_filter(node, 1) for node in ("a", "b", "c"))),
        },
    ),
    "second_vpn": Axis("Does a have a second VPN?", {"none": Value("no")}),
    "namespace": Axis("Where is a's tunnel?", {"host": Value("in the same namespace as its uplink")}),
    "user": Axis("Who runs preflight?", {"root": Value("root")}),
}
