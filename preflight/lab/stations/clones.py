"""Two machines with one key: a copy of b, or of a, runs at c's host, as a cloned disk does, and calls the other."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from preflight.lab import probe
from preflight.lab.axes.setup import Setup
from preflight.lab.part import Part
from preflight.lab.processes import program, run, wait_for_words
from preflight.lab.site import write_private
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.making import OTHER, device
from preflight.lab.topology import underlay_address
from preflight.lab.truth import Deciding, Place, Truth
from preflight.lab.tunnels import wireguard_device
from preflight.model.host_port import join_host_port

if TYPE_CHECKING:
    from preflight.lab.network import Network

_COPY = "cp"
"""Where a node has its name: devices of other labs have their sockets in the same folder."""
_READY_S, _SEEN_WITHIN_S, _LOOK_S = 5.0, 12.0, 0.1
_PLACE = Place("packet", "session", "receiver")


def _copied(network: "Network", node: str) -> None:
    """A device with a node's private key; its keepalive each second moves the other's session to it."""
    host, called = network.plan.outer("c"), OTHER[node]
    copy = network.names.tunnel(_COPY)
    daemon = wireguard_device(network, host, copy, "tunnel-copy")
    if daemon is not None:
        wait_for_words(daemon, "UAPI listener started", 1, time.monotonic() + _READY_S)
    endpoint = join_host_port(underlay_address(called, network.plan.underlay), network.plan.listen_port(called, node))
    lines = ["[Interface]", f"PrivateKey = {network.keys[node].private}", "[Peer]"]
    lines += [f"PublicKey = {network.keys[called].public}", f"Endpoint = {endpoint}", "PersistentKeepalive = 1", ""]
    file = network.names.files("c") / "copy.conf"
    write_private(file, "\n".join(lines))
    run(network.command(host, program("ip"), "link", "set", copy, "up"))
    network.wg(host, "setconf", copy, str(file))


def _two_places(node: str) -> Callable[["Network"], None]:
    """The other one's endpoint of a node's key is c's host, and is another one in between."""

    def proof(network: "Network") -> None:
        called, seen, deadline = OTHER[node], list[bool](), time.monotonic() + _SEEN_WITHIN_S
        copy = underlay_address("c", network.plan.underlay)
        while time.monotonic() < deadline:
            if node == "a":
                probe.echoed(network, "a", "b")
            shown = network.wg(called, "show", device(network, called, node), "endpoints").split()
            seen.append(copy in shown[shown.index(network.keys[node].public) + 1])
            if any(earlier and not later for earlier, later in pairwise(seen)):
                return
            time.sleep(_LOOK_S)
        raise NotThereError(f"the endpoint of {node}'s key does not go to and fro")

    return proof


def _expected(setup: Setup) -> Truth:
    # b's hellos and answers bring the session back to b, and the copy's keepalives take it away.
    deciding = Deciding("public_key", lambda network: network.keys["b"].public)
    return Truth("overlay.duplicate-key", "b", place=_PLACE, deciding=deciding, heals="nothing", where="peer")


def _own_expected(setup: Setup) -> Truth:
    # b answers in the session of the machine that made the last one: what comes to a then fits no session of a.
    deciding = Deciding("public_key", lambda network: network.keys["a"].public)
    return Truth(
        "overlay.duplicate-key", "b", "reverse", place=_PLACE, deciding=deciding, heals="nothing", where="node"
    )


def _excluded(setup: Setup) -> str | None:
    if setup.product != "wireguard":
        return "only WireGuard's key is in one line of a file"
    if setup.layout == "hub":
        return "a has no session with b"
    if setup.nat != "none":
        return "the copy cannot call a behind its router"
    if not setup.keyed or setup.user != "root":
        return "without hellos b is silent until it is asked, and then the copy has its session"
    return None


def _own_excluded(setup: Setup) -> str | None:
    if setup.namespace != "host":
        return "the tunnel's own packets do not pass a's namespace"
    return _excluded(setup)


def _fault(node: str, name: str, expected: Callable[[Setup], Truth], excluded: Callable[[Setup], str | None]) -> Fault:
    part = Part(f"another machine runs with {node}'s key", inject=lambda network: _copied(network, node))
    return Fault(
        name=f"session-copied-{name}",
        summary=part.summary,
        place=_PLACE,
        made=lambda setup: (part,),
        expected=expected,
        proof=_two_places(node),
        excluded=excluded,
        drowns=True,
    )


FAULTS = (
    _fault("b", "key", _expected, _excluded),
    _fault("a", "own-key", _own_expected, _own_excluded),
)
