"""Two machines with one key: a copy of b runs at c's host, as a cloned disk does, and calls a."""

import time
from itertools import pairwise
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.part import Part
from preflight.lab.processes import program, run, wait_for_words
from preflight.lab.site import write_private
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.making import device
from preflight.lab.topology import underlay_address
from preflight.lab.truth import Deciding, Place, Truth
from preflight.lab.tunnels import wireguard_device
from preflight.model.host_port import join_host_port

if TYPE_CHECKING:
    from preflight.lab.network import Network

_COPY = "copy0"
_READY_S, _SEEN_WITHIN_S, _LOOK_S = 5.0, 12.0, 0.1
_PLACE = Place("packet", "session", "receiver")


def _copied(network: "Network") -> None:
    """A device with b's private key; its keepalive each second moves a's session to it, as its traffic would."""
    host = network.plan.outer("c")
    daemon = wireguard_device(network, host, _COPY, "tunnel-copy")
    if daemon is not None:
        wait_for_words(daemon, "UAPI listener started", 1, time.monotonic() + _READY_S)
    endpoint = join_host_port(underlay_address("a", network.plan.underlay), network.plan.listen_port("a", "b"))
    lines = ["[Interface]", f"PrivateKey = {network.keys['b'].private}", "[Peer]"]
    lines += [f"PublicKey = {network.keys['a'].public}", f"Endpoint = {endpoint}", "PersistentKeepalive = 1", ""]
    file = network.names.files("c") / "copy.conf"
    write_private(file, "\n".join(lines))
    run(network.command(host, program("ip"), "link", "set", _COPY, "up"))
    network.wg(host, "setconf", _COPY, str(file))


def _two_places(network: "Network") -> None:
    """a's endpoint of b's key is c's host, and is another one in between."""
    copy, seen, deadline = underlay_address("c", network.plan.underlay), [], time.monotonic() + _SEEN_WITHIN_S
    while time.monotonic() < deadline:
        shown = network.wg("a", "show", device(network, "a", "b"), "endpoints").split()
        seen.append(copy in shown[shown.index(network.keys["b"].public) + 1])
        if any(earlier and not later for earlier, later in pairwise(seen)):
            return
        time.sleep(_LOOK_S)
    raise NotThereError("the endpoint of b's key does not go to and fro")


def _expected(setup: Setup) -> Truth:
    # b's hellos and answers bring the session back to b, and the copy's keepalives take it away.
    deciding = Deciding("public_key", lambda network: network.keys["b"].public)
    return Truth("overlay.duplicate-key", "b", place=_PLACE, deciding=deciding, heals="nothing", where="peer")


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


FAULTS = (
    Fault(
        name="session-copied-key",
        summary="another machine runs with b's key",
        place=_PLACE,
        made=lambda setup: (Part("another machine runs with b's key", inject=_copied),),
        expected=_expected,
        proof=_two_places,
        excluded=_excluded,
        drowns=True,
    ),
)
