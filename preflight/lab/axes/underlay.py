"""What lies under the overlay: families, address translation, links and their bad sides."""

from preflight.lab import faults, links
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
    "nat": Axis(
        "Is a behind a translation of addresses?",
        {
            "none": Value("no"),
            "nat": Value("its home router's, so that others learn where it is when it speaks", (links.home_router(),)),
            "cgnat": Value("its home router's and its carrier's", (links.home_router(), links.carrier())),
        },
    ),
    "uplinks": Axis(
        "How many uplinks does a have?",
        {"one": Value("one"), "two": Value("two, each with its own table", (links.second_uplink(),))},
    ),
    "link_mtu": Axis(
        "What do the links carry?",
        {
            "1500": Value("1500 bytes"),
            **{str(size): Value(f"{size} bytes", (links.link_mtu(size),)) for size in (1492, 1460, 1280, 9000)},
        },
    ),
    "below": Axis(
        "Does the tunnel run inside another one?",
        {"none": Value("no"), "tunnel": Value("a's uplink is a VXLAN", (links.tunnel_below(),))},
    ),
    "delay": Axis(
        "How far are the others?",
        {
            "none": Value("in the next room"),
            "near": Value("5 ms", _all_links(Impairment(delay_ms=2.5))),
            "far": Value("80 ms", _all_links(Impairment(delay_ms=40))),
            "very-far": Value("200 ms", _all_links(Impairment(delay_ms=100))),
        },
    ),
    "rate": Axis(
        "How much does a's link carry?",
        {
            "unlimited": Value("as much as the machine does"),
            "2mbit": Value("2 Mbit/s", (links.rate(2000),)),
            "200kbit": Value("200 kbit/s", (links.rate(200),)),
        },
    ),
}
