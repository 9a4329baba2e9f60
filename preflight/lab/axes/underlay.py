"""What lies under the overlay: families, address translation, links and their bad sides."""

from preflight.lab import faults
from preflight.lab.axes.axis import Axis, Value
from preflight.lab.impairment import Impairment
from preflight.lab.part import Part, planned


def _all_links(impairment: Impairment) -> tuple[Part, ...]:
    """The same bad link between a and each other member, in both directions."""
    return tuple(part for other in ("b", "c") for part in faults.both_ways("a", other, impairment))


AXES = {
    "outer": Axis(
        "Of which family are the tunnel's own packets?",
        {"ipv4": Value("IPv4"), "ipv6": Value("IPv6", (planned("IPv6 underlay", underlay=6),))},
    ),
    "nat": Axis("Is a behind a translation of addresses?", {"none": Value("no")}),
    "uplinks": Axis("How many uplinks does a have?", {"one": Value("one")}),
    "link_mtu": Axis("What do the links carry?", {"1500": Value("1500 bytes")}),
    "below": Axis("Does the tunnel run inside another one?", {"none": Value("no")}),
    "delay": Axis(
        "How far are the others?",
        {
            "none": Value("in the next room"),
            "near": Value("5 ms", _all_links(Impairment(delay_ms=2.5))),
            "far": Value("80 ms", _all_links(Impairment(delay_ms=40))),
            "very-far": Value("200 ms", _all_links(Impairment(delay_ms=100))),
        },
    ),
    "rate": Axis("How much does a's link carry?", {"unlimited": Value("as much as the machine does")}),
}
