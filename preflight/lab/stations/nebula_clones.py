"""Two machines with one certificate of Nebula: a copy of b, or of a, runs at c's host, and calls the other."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import yaml

from preflight.lab import probe
from preflight.lab.axes.setup import Setup
from preflight.lab.part import Part
from preflight.lab.processes import program, start, wait_for_words
from preflight.lab.stations.daemons import NEBULA_READY, READY_S
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.making import OTHER
from preflight.lab.topology import TUNNEL_PORT, underlay_address
from preflight.lab.truth import Deciding, Place, Truth
from preflight.model.host_port import join_host_port

if TYPE_CHECKING:
    from preflight.lab.network import Network

_PLACE = Place("packet", "session", "receiver")
_COPY_PORT = TUNNEL_PORT + 1
"""c's own Nebula has the other one."""
_SEEN_WITHIN_S, _LOOK_S = 90.0, 0.2
_CALLS_WITHIN_S = 15.0
"""A copy calls at once, and again each second."""
_CHANGES = {"a": 10, "b": 4}
"""So often as in a minute of a cluster at work."""


def _copied(network: "Network", node: str) -> None:
    """A daemon with a member's certificate and key, without an interface.

    It reports to the other one each second where it is, as a member does to its lighthouse: traffic in their session.
    """
    plan, called, files = network.plan, OTHER[node], network.names.files("c")
    own = network.names.files(node)
    allow = [{"port": "any", "proto": "any", "host": "any"}]
    inner = plan.address(called, 4)
    place = join_host_port(underlay_address(called, plan.underlay), TUNNEL_PORT)
    config = {
        "pki": {
            "ca": str(network.names.directory / "nebula-ca.crt"),
            "cert": str(own / "nebula.crt"),
            "key": str(own / "nebula.key"),
        },
        "static_host_map": {inner: [place]},
        "lighthouse": {"am_lighthouse": False, "hosts": [inner], "interval": 1},
        "listen": {"host": underlay_address("c", plan.underlay), "port": _COPY_PORT},
        "tun": {"disabled": True},
        "firewall": {"outbound": allow, "inbound": allow},
    }
    path = files / "copy.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    argv = network.command(plan.outer("c"), program("nebula"), "-config", str(path))
    copy = start(f"copy of {node}", argv, mark=network.names.mark("tunnel-copy"), log=files / "copy.log")
    wait_for_words(copy, NEBULA_READY, 1, time.monotonic() + READY_S)


def _two_places(node: str) -> Callable[["Network"], None]:
    """Handshakes with a certificate come to the other one from c's host, and from another one in between."""

    def proof(network: "Network") -> None:
        called, began = OTHER[node], time.monotonic()
        log = network.names.files(called) / "nebula.log"
        own = f"vpnIp={network.plan.address(node, 4)}"
        copy = join_host_port(underlay_address("c", network.plan.underlay), _COPY_PORT)
        came: list[bool] = []
        while time.monotonic() < began + (_SEEN_WITHIN_S if any(came) else _CALLS_WITHIN_S):
            probe.echoed(network, "a", "b")
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            came = [copy in line for line in lines if own in line and "Handshake message received" in line]
            if sum(one is not other for one, other in pairwise(came)) >= _CHANGES[node]:
                return
            time.sleep(_LOOK_S)
        raise NotThereError(f"the sessions with {node}'s certificate do not go to and fro")

    return proof


def _expected(setup: Setup) -> Truth:
    deciding = Deciding("public_key", lambda network: network.plan.address("b", 4))
    return Truth("overlay.duplicate-key", "b", place=_PLACE, deciding=deciding, heals="nothing", where="peer")


def _own_expected(setup: Setup) -> Truth:
    return Truth("overlay.duplicate-key", "b", place=_PLACE, heals="nothing", where="node")


def _excluded(setup: Setup) -> str | None:
    if setup.product != "nebula":
        return "this product has no certificates of Nebula's kind"
    if setup.nat != "none":
        return "the copy cannot call a behind its router"
    if not setup.keyed or setup.user != "root":
        return "without hellos b is silent until it is asked, and then the copy has its session"
    return None


def _fault(node: str, name: str, expected: Callable[[Setup], Truth]) -> Fault:
    part = Part(f"another machine runs with {node}'s certificate", inject=lambda network: _copied(network, node))
    return Fault(
        name=f"session-nebula-copied-{name}",
        summary=part.summary,
        place=_PLACE,
        made=lambda setup: (part,),
        expected=expected,
        proof=_two_places(node),
        excluded=_excluded,
        alone=True,
    )


FAULTS = (
    _fault("b", "certificate", _expected),
    _fault("a", "own-certificate", _own_expected),
)
