"""Two tunnels on one port: the one that came too late has no socket, and says nothing of it."""

from typing import Any

import pytest

from preflight.model.overlay import ConfiguredTunnel
from preflight.model.udp_port import UdpPort
from preflight.proto.way.ports import observe_port
from preflight.proto.way.tunnel_view import Burst
from tests.proto.way.seeing import BURST, FLOW, PORT, grown, outer, peer, state, view

LOST = state(listen_port=None)
SECOND = state(interface="wg02")
PORTS = (UdpPort(PORT, "0.0.0.0"), UdpPort(PORT + 1, "::"))
FILE = ConfiguredTunnel("/etc/wireguard/wg0.conf", listen_port=PORT)


def test_another_tunnel_has_the_port_that_the_peers_use() -> None:
    """The port is in the sentence, and the remedy gives this tunnel one that is free."""
    (found,) = observe_port(view(*BURST, before=LOST, ports=PORTS, tunnels=(LOST, SECOND)))
    assert (found.station.id, found.finding, found.direction) == ("wire", "killed", "forward")
    assert found.death is not None
    assert found.death.code.slug == "overlay.port-conflict"
    assert found.death.facts is not None
    assert found.death.facts.port == PORT
    assert "the tunnel wg02 has UDP port 51820" in found.death.message
    assert [remedy.lines for remedy in found.death.remedies] == [(f"wg set wg0 listen-port {PORT + 2}",)]


@pytest.mark.parametrize(("program", "said"), [("dnsmasq", "dnsmasq has"), (None, "another program has")])
def test_another_program_has_the_port_of_the_file(program: str | None, said: str) -> None:
    """The file says which port it should be."""
    own = state(listen_port=None, configured=FILE)
    (found,) = observe_port(view(*BURST, before=own, ports=(UdpPort(PORT, "0.0.0.0", program),)))
    assert found.death is not None
    assert said in found.death.message


NO_CONFLICT: dict[str, dict[str, Any]] = {
    "it has a port": {"before": state(), "ports": PORTS, "tunnels": (SECOND,)},
    "nobody has the port": {"before": state(listen_port=None, configured=FILE), "ports": (UdpPort(9, "::"),)},
    "sockets could not be read": {"before": LOST, "tunnels": (SECOND,)},
    "it is down": {"before": state(listen_port=None, up=False), "ports": PORTS, "tunnels": (SECOND,)},
    "nobody says which port it should have": {"before": LOST, "ports": (UdpPort(9, "::"),)},
    "it sends": {
        "before": LOST, "after": grown(LOST, tx_bytes=5000), "ports": PORTS, "tunnels": (SECOND,),
    },
    "it was answered": {
        "before": LOST, "ports": PORTS, "tunnels": (SECOND,), "burst": Burst(flow=FLOW, sent=10, answered=1),
    },
    "not WireGuard": {"before": LOST, "ports": PORTS, "tunnels": (SECOND,), "carrier": "nebula"},
}  # fmt: skip


@pytest.mark.parametrize("values", NO_CONFLICT.values(), ids=NO_CONFLICT)
def test_what_is_no_conflict(values: dict[str, Any]) -> None:
    """A tunnel that sends, or whose port nobody has, has another fault."""
    assert observe_port(view(*BURST, **values)) == ()


def test_packets_on_the_wire_are_the_proof_of_a_socket() -> None:
    """Whatever the state says."""
    assert observe_port(view(*BURST, outer("data", out=True), before=LOST, ports=PORTS, tunnels=(SECOND,))) == ()
    assert peer().endpoint_port == PORT
