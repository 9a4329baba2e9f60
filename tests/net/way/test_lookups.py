"""Route look-ups with everything that a rule may select by, against real kernels' tables."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network

import pytest

from preflight.model.flow import Flow
from preflight.net.way.lookups import Lookups
from preflight.proto.way.route_messages import RouteAnswer
from tests.net.way.network_namespace import namespaces

FLOW = Flow(source="", destination="10.9.0.1", source_port=51820, destination_port=862)
SIX = replace(FLOW, destination="fd09::1")


@pytest.mark.lab
@pytest.mark.parametrize(("version", "flow"), [("-4", FLOW), ("-6", SIX)])
@pytest.mark.parametrize(
    ("selector", "others"),
    [
        ("fwmark 7", replace(FLOW, mark=7)),
        ("uidrange 1000-1999", replace(FLOW, uid=1500)),
        ("ipproto udp", FLOW),
        ("sport 51820", FLOW),
        ("dport 862", FLOW),
    ],
)
def test_each_selector_of_a_rule_counts(version: str, flow: Flow, selector: str, others: Flow) -> None:
    """pyroute2 drops half of them in silence: a look-up without them would follow another rule than the packets."""
    asked = replace(flow, mark=others.mark, uid=others.uid)
    unlike = replace(flow, protocol="tcp", source_port=1, destination_port=1)
    default = f"{version} route add default dev e0 table 77"
    with namespaces(default, f"{version} rule add {selector} lookup 77 pref 90"), Lookups() as lookups:
        found, other = lookups.leaving(asked), lookups.leaving(unlike)
    assert (found.interface, found.table, found.matched) == (
        "e0",
        77,
        ip_network("0.0.0.0/0" if version == "-4" else "::/0"),
    )
    assert other.type == "none"


@pytest.mark.lab
@pytest.mark.parametrize("flow", [FLOW, SIX])
@pytest.mark.parametrize("by", ["route add {kind} {host}", "rule add to {host} pref 90 {kind}"])
@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit", "throw"])
def test_each_refusal_has_its_errno(flow: Flow, by: str, kind: str) -> None:
    """The kernel answers by an error, never by a type; routes and rules alike, and both families."""
    if kind == "throw" and by.startswith("rule"):
        return
    version, host = ("-6", "fd09::1/128") if flow.is_ipv6 else ("-4", "10.9.0.1/32")
    with namespaces(f"{version} {by.format(kind=kind, host=host)}"), Lookups() as lookups:
        found = lookups.leaving(flow)
    same_as_none = kind == "throw" or (kind == "unreachable" and by.startswith("rule"))
    assert found.type == ("none" if same_as_none else kind)
    assert found.refused
    assert found.error


@pytest.mark.lab
def test_what_is_chosen_where_it_is_not_refused() -> None:
    """Source, gateway, table and entry of both families, also of an own address and of a bound device."""
    more = ("route add 10.9.0.0/24 via 10.5.0.2", "-6 route add fd09::/64 via fd05::2", "route add default dev e0")
    with namespaces(*more), Lookups() as lookups:
        four, six = lookups.leaving(FLOW), lookups.leaving(SIX)
        own = lookups.leaving(replace(FLOW, destination="10.5.0.1"))
        bound = lookups.leaving(FLOW, bound_to="e0")
    assert str(four) == "via 10.5.0.2 dev e0 src 10.5.0.1"
    assert (four.matched, four.next_hop) == (ip_network("10.9.0.0/24"), "10.5.0.2")
    assert (six.gateway, six.source, six.matched) == ("fd05::2", "fd05::1", ip_network("fd09::/64"))
    assert (own.type, bound.interface) == ("local", "e0")


@pytest.mark.lab
def test_an_arrival_is_refused_where_the_filter_is_strict(set_sysctl: Callable[[str], None]) -> None:
    """The kernel's verdict without a packet; a device that is not there gives none."""
    arriving = Flow(source="10.6.0.9", destination="10.5.0.1", interface_in="e0")
    more = ("tuntap add d0 mode tun", "address add 10.6.0.1/24 dev d0", "link set d0 up")
    with namespaces(*more), Lookups() as lookups:
        for mode, refused in (("1", True), ("2", False), ("0", False)):
            for name in ("all", "e0"):
                set_sysctl(f"net.ipv4.conf.{name}.rp_filter={mode}")
            found = lookups.arriving(arriving)
            assert found is not None
            assert found.refused is refused
        near = lookups.arriving(replace(arriving, source="10.5.0.9"))
        assert near is not None
        assert not near.refused
        assert lookups.arriving(replace(arriving, interface_in="none0")) is None


class WithVrf(Lookups):
    """The answers of a kernel with VRFs, which is rare: what device 1 sends is routed in table 1066."""

    def _ask(self, flow: Flow, flags: int, *, bound_to: int | None = None, incoming: int | None = None) -> RouteAnswer:
        return RouteAnswer(
            type="unicast", interface=1, table=1066 if bound_to == 1 else 254, destination=ip_network("10.9.0.0/24")
        )


@pytest.mark.parametrize(("vrfs", "table"), [(("lo",), 1066), ((), 254), (("other",), 254)])
def test_the_way_leads_through_a_vrf(vrfs: tuple[str, ...], table: int) -> None:
    """Protects tunnels in a VRF: packets that go into its device are routed again, in its own table."""
    with WithVrf(frozenset(vrfs)) as lookups:
        assert lookups.leaving(FLOW).table == table
