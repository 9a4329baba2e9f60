"""The kernel's word from a real kernel: each fault of routes, links, neighbours, filters and queues, both families."""

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from preflight.model.flow import Flow
from preflight.model.network_state import NetworkState, TunnelSide
from preflight.model.remedy import Remedy
from preflight.net.way.kernel_questions import KernelQuestions
from preflight.net.way.routes import KernelState
from preflight.proto.way.kernel_word import Watched, observe_kernel, questions, uplink_of
from preflight.proto.way.observation import Death
from tests.net.way.network_namespace import namespaces

PORT = 51820
"""A tun stands in for the tunnel: its routes, addresses and queues are what the kernel knows of any tunnel."""
TUN = (
    "tuntap add t0 mode tun",
    "address add 10.66.0.1/24 dev t0",
    "address add fd66::1/64 dev t0 nodad",
    "link set t0 up",
    "route add default via 10.5.0.2",
    "-6 route add default via fd05::2",
)


@dataclass(frozen=True)
class Family:
    """The addresses of one family, and the option of ip(8) for it."""

    option: str
    own: str
    peer: str
    uplink: str
    gateway: str
    nobody: str
    endpoint: str
    length: int

    @property
    def watched(self) -> Watched:
        """A burst to the peer, and the tunnel's own packets to the endpoint."""
        inner = Flow(source="", destination=self.peer, destination_port=862)
        outer = Flow(source="", destination=self.endpoint, source_port=PORT, destination_port=PORT)
        endpoint = f"[{self.endpoint}]:{PORT}" if ":" in self.endpoint else f"{self.endpoint}:{PORT}"
        tunnel = TunnelSide(
            peer="b",
            product="wireguard",
            interfaces=("t0",),
            addresses=("10.66.0.1", "fd66::1"),
            endpoint=endpoint,
            listen_port=PORT,
            owned=True,
        )
        return Watched(tunnel=tunnel, flows=(inner,), outer=outer, sent=5)

    def lines(self, *templates: str) -> tuple[str, ...]:
        """Lines of ip(8) with this family's words."""
        known = {**vars(self), "host": f"{self.peer}/{self.length}", "end": f"{self.endpoint}/{self.length}"}
        return tuple(f"{self.option} {line.format(**known)}" for line in templates)


FOUR = Family("-4", "10.66.0.1", "10.66.0.2", "10.5.0.1", "10.5.0.2", "10.5.0.99", "203.0.113.7", 32)
SIX = Family("-6", "fd66::1", "fd66::2", "fd05::1", "fd05::2", "fd05::99", "2001:db8::7", 128)
BOTH = pytest.mark.parametrize("family", [FOUR, SIX], ids=["ipv4", "ipv6"])


def take(watched: Watched) -> NetworkState:
    """One snapshot, as the caller takes it: the uplink is known once the kernel has named it."""

    async def taken() -> NetworkState:
        kernel = KernelState()
        first = await kernel.snapshot(*questions(watched))
        return await kernel.snapshot(*questions(watched, uplink_of(first, watched)))

    return asyncio.run(taken())


def deaths(
    family: Family, *faults: str, during: Callable[[], None] = lambda: None, asking: bool = True
) -> dict[str, Death]:
    """What died where: the fault, a snapshot, the burst, a snapshot, and a question to the next hop."""
    with namespaces(*TUN, *family.lines(*faults)):
        return found_now(family, during, asking=asking)


def found_now(family: Family, during: Callable[[], None] = lambda: None, *, asking: bool = True) -> dict[str, Death]:
    """The same in the namespace that this thread is in."""
    watched = family.watched
    before = take(watched)
    during()
    after = take(watched)
    observed = observe_kernel(
        before, after, watched, asyncio.run(KernelQuestions().ask(after, watched)) if asking else None
    )
    return {each.station.id: each.death for each in observed if each.death is not None}


def heal(remedies: Sequence[Remedy]) -> None:
    """Run the lines of the fix, as a person pastes them."""
    fixes = [remedy for remedy in remedies if remedy.kind == "fix"]
    assert fixes, remedies
    for line in fixes[0].lines:
        subprocess.run(["/bin/sh", "-ec", line], check=True)


@BOTH
@pytest.mark.lab
def test_nothing_dies_on_a_healthy_machine(family: Family) -> None:
    """Protects from false alarms, with a living gateway that was asked."""
    assert deaths(family) == {}


ROUTES = {
    "blackhole": (("route add blackhole {host}",), "route", "route_type", "blackhole"),
    "unreachable": (("route add unreachable {host}",), "route", "route_type", "unreachable"),
    "prohibit": (("route add prohibit {host}",), "route", "route_type", "prohibit"),
    "rule": (("rule add to {host} pref 90 prohibit",), "route", "route_type", "prohibit"),
    "rule-unreachable": (("rule add to {host} pref 90 unreachable",), "route", "route_type", "unreachable"),
    "rule-blackhole": (("rule add to {host} pref 90 blackhole",), "route", "route_type", "blackhole"),
    "uplink": (("route add {host} via {gateway}",), "route", "interface", "e0"),
    "udp-by-rule": (
        ("route add {host} via {gateway} table 177", "rule add to {host} ipproto udp lookup 177 pref 90"),
        "route",
        "interface",
        "e0",
    ),
    "source": (("route add {host} dev t0 src {uplink}",), "route", "source", None),
    "own-on-uplink": (("address add {host} dev e0 nodad",), "address", "interface", "e0"),
    "own-on-loopback": (("address add {host} dev lo",), "address", "interface", "lo"),
    "own-on-tunnel": (("address add {host} dev t0 nodad",), "address", "interface", "t0"),
    "outer-blackhole": (("route add blackhole {end}",), "route-outer", "route_type", "blackhole"),
    "outer-rule": (
        ("rule add to {end} ipproto udp dport 51820 pref 90 prohibit",),
        "route-outer",
        "route_type",
        "prohibit",
    ),
    "loop": (("route add {end} dev t0",), "route-outer", "endpoint", None),
    "dead-host-route": (("route add {end} via {nobody} dev e0 onlink",), "neighbour", "gateway", None),
    "static-neighbour": (
        ("neighbour replace {gateway} lladdr 02:00:00:00:00:99 dev e0 nud permanent",),
        "neighbour",
        "neighbour",
        None,
    ),
}


@BOTH
@pytest.mark.lab
@pytest.mark.parametrize(("lines", "station", "field", "value"), ROUTES.values(), ids=ROUTES)
def test_a_fault_is_named_at_its_station_and_healed(
    family: Family, lines: tuple[str, ...], station: str, field: str, value: str | None
) -> None:
    """The field that decides, its value in the sentence, and a fix after which nothing dies any more."""
    endpoint = family.watched.tunnel.endpoint
    mine = {"source": family.uplink, "gateway": family.nobody, "neighbour": family.gateway, "endpoint": endpoint}
    with namespaces(*TUN, *family.lines(*lines)):
        _send(family.gateway)  # so that the kernel has heard of the gateway, as after a session that lived
        found = found_now(family)
        assert list(found) == [station]
        death = found[station]
        wanted = value or mine[field]
        assert (getattr(death.facts, field), death.certain) == (wanted, True)
        assert str(wanted) in death.message
        heal(death.remedies)
        assert found_now(family) == {}


@BOTH
@pytest.mark.lab
def test_no_route_and_no_default_route(family: Family) -> None:
    """The same errno inside and outside the tunnel, each at its station."""
    prefix = "10.66.0.0/24" if family is FOUR else "fd66::/64"
    found = deaths(family, f"route del {prefix} dev t0", "route del default via {gateway}")
    assert {station: death.facts and death.facts.route_type for station, death in found.items()} == {
        "route": "none",
        "route-outer": "none",
    }
    assert all("none" in death.message for death in found.values())


@pytest.mark.lab
def test_the_rule_for_the_main_table_is_gone() -> None:
    """Its absence is named, and one line brings it back."""
    with namespaces(*TUN, "rule del pref 32766"):
        found = found_now(FOUR)
        assert {death.facts and death.facts.route_type for death in found.values()} == {"none"}
        heal(found["route"].remedies)
        assert found_now(FOUR) == {}


LOST = ("route del default via {gateway}", "route replace default via {nobody} dev e0 onlink")


@BOTH
@pytest.mark.lab
@pytest.mark.parametrize("line", LOST, ids=["lost", "dead"])
def test_another_router_takes_the_place_of_a_gateway(family: Family, line: str) -> None:
    """The neighbour shows that it has a way to the endpoint, so that a line heals, and no guess."""
    forwards = "net.ipv6.conf.all.forwarding=1" if family is SIX else "net.ipv4.ip_forward=1"
    with namespaces(*TUN) as (_, there):
        subprocess.run(["ip", "netns", "exec", there, "sysctl", "-qw", forwards], check=True)
        _send(family.gateway)
        subprocess.run(["ip", *family.lines(line)[0].split()], check=True)
        (death,) = found_now(family).values()
        assert {remedy.kind for remedy in death.remedies} == {"next"}
        way = ("-n", there, family.option, "route", "replace", "default", "via", family.uplink)
        subprocess.run(["ip", *way], check=True)
        (death,) = found_now(family).values()
        heal(death.remedies)
        assert found_now(family) == {}


@BOTH
@pytest.mark.lab
def test_the_uplink_is_switched_off(family: Family) -> None:
    """It is named first, whatever its lost routes look like."""
    with namespaces(*TUN):
        subprocess.run(["ip", "link", "set", "e0", "down"], check=True)
        found = found_now(family)
        assert [str(death.code) for death in found.values()] == ["host.uplink-down"]
        assert found["route-outer"].facts is not None
        assert (found["route-outer"].facts.interface, "switched off" in found["route-outer"].message) == ("e0", True)


@BOTH
@pytest.mark.lab
def test_the_uplink_has_no_carrier(family: Family) -> None:
    """The link's other end is down."""
    with namespaces(*TUN) as (_, there):
        subprocess.run(["ip", "-n", there, "link", "set", "e1", "down"], check=True)
        _wait(lambda: not _carrier())
        found = found_now(family)
    assert [str(death.code) for death in found.values()] == ["host.uplink-down"]
    assert "no carrier" in found["route-outer"].message


def _carrier() -> bool:
    link = take(FOUR.watched).link("e0")
    return link is not None and link.carrier


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@BOTH
@pytest.mark.lab
def test_without_a_question_the_kernel_s_own_entry_is_believed(family: Family) -> None:
    """An ordinary user may not ask; after 3.1 s the kernel has given up, and says so."""
    watched = family.watched

    def send() -> None:
        _send(family.endpoint)
        _wait(lambda: (each := take(watched).neighbour("e0", family.nobody)) is not None and each.state == "failed")

    found = deaths(family, "route replace default via {nobody} dev e0 onlink", during=send, asking=False)
    assert [str(death.code) for death in found.values()] == ["host.gateway-dead"]
    assert family.nobody in found["neighbour"].message


@pytest.mark.lab
def test_a_strict_filter_on_the_uplink(set_sysctl: Callable[[str], None]) -> None:
    """The tunnel's packets come in by the link to which no route leads back."""
    # b's kernel asks for hardware addresses from the address that is filtered, so it must know this node's.
    known = (f"link set e0 address {_E0}", f"there: neighbour add 10.5.0.1 lladdr {_E0} dev e1")
    with namespaces(*TUN, *known) as (_, there):
        for name in ("all", "e0", "t0"):
            set_sysctl(f"net.ipv4.conf.{name}.rp_filter={int(name == 'e0')}")
        # The tunnel's own packets have a mark, and those that come in have none.
        for words in (
            "route add 203.0.113.7 via 10.5.0.2 table 8",
            "rule add fwmark 8 lookup 8 pref 80",
            "route add 203.0.113.7 dev t0",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        subprocess.run(["ip", "-n", there, "address", "add", "203.0.113.7/32", "dev", "e1"], check=True)
        watched = FOUR.watched
        assert watched.outer is not None
        watched = replace(watched, outer=replace(watched.outer, mark=8, source="10.5.0.1"))
        before = take(watched)
        subprocess.run(["ip", "netns", "exec", there, "/bin/sh", "-ec", _SENT_BY_B], check=True)
        _wait(lambda: (take(watched).filters.dropped or 0) > (before.filters.dropped or 0))
        after = take(watched)
        found = {each.station.id: each.death for each in observe_kernel(before, after, watched) if each.death}
        assert list(found) == ["rp-outer"]
        assert found["rp-outer"].facts is not None
        assert found["rp-outer"].facts.sysctl == "net.ipv4.conf.e0.rp_filter"
        heal(found["rp-outer"].remedies)
        assert take(watched).filters.modes["e0"] == 2


_E0 = "02:00:00:00:00:01"
_SENT_BY_B = (
    'exec python3 -c "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); '
    "s.bind(('203.0.113.7', 51820)); s.sendto(b'x', ('10.5.0.1', 51820))\""
)


@pytest.mark.lab
def test_a_daemon_that_does_not_read_its_socket() -> None:
    """The kernel counts what did not fit, by port."""
    with namespaces(*TUN), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        daemon.bind(("10.5.0.1", PORT))

        def flood() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(50):
                    sender.sendto(bytes(1000), ("10.5.0.1", PORT))

        found = found_now(FOUR, flood)
    assert [str(death.code) for death in found.values()] == ["overlay.daemon-down"]
    assert found["socket-outer"].facts is not None
    assert found["socket-outer"].facts.port == PORT


@pytest.mark.lab
def test_a_daemon_that_does_not_take_what_is_sent() -> None:
    """A tun without a reader has a full queue at once."""
    found = deaths(FOUR, during=lambda: _burst("10.66.0.2"))
    assert [str(death.code) for death in found.values()] == ["overlay.daemon-down"]
    assert list(found) == ["tunnel"]


def _send(address: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", (address, PORT))


def _burst(address: str, size: int = 200) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(5):
            sender.sendto(bytes(size), (address, PORT))


@pytest.mark.lab
def test_a_queue_that_is_smaller_than_the_packets() -> None:
    """Its drops are the burst's number, and without it everything passes."""
    with namespaces(*TUN, "there: address add 203.0.113.7/32 dev e1"):
        subprocess.run(["tc", "qdisc", "replace", "dev", "e0", "root", "bfifo", "limit", "100"], check=True)
        found = found_now(FOUR, lambda: _burst("203.0.113.7"))
        assert list(found) == ["egress-outer"]
        assert found["egress-outer"].facts is not None
        assert (found["egress-outer"].facts.interface, found["egress-outer"].certain) == ("e0", True)
        heal(found["egress-outer"].remedies)
        assert found_now(FOUR, lambda: _burst("203.0.113.7")) == {}
