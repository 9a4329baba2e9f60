"""A remote end that has moved: a's tunnel sends to where it was, and the name in its file leads to where it is."""

from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.keys import tunnel_config
from preflight.lab.part import Part
from preflight.lab.stations import outside
from preflight.lab.stations import outside_proofs as proofs
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.outer_endpoints import endpoint_excluded, other_address
from preflight.lab.stations.words import never_up
from preflight.lab.truth import Deciding, Place, Truth
from preflight.model.host_port import join_host_port

if TYPE_CHECKING:
    from preflight.lab.network import Network

_PLACE = Place("packet", "session")
_NAME = "b.dynamic.test"
_SUMMARY = "a's tunnel sends to an address that b had, and its file names b, whose name leads to its new one"


def _moved(network: "Network") -> None:
    """As after a change of b's address: a has the old one, and b, which does not know where a is, cannot call."""
    address, port, _ = outside.endpoint(network, "a")
    _write_file(network, address, port)
    outside.forget(network, "b")
    outside.forget(network, "a", join_host_port(other_address(network), port))


def _write_file(network: "Network", address: str, port: int) -> None:
    """The file of a's tunnel with a name for the remote end, and the name in a's hosts file."""
    etc, device = network.names.etc("a"), outside.tunnel_to_remote_end(network, "a")
    folder = etc / "wireguard"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = tunnel_config(network.plan, network.keys, "a", network.plan.tunnels("a")[0])
    file = folder / f"{device}.conf"
    file.touch(mode=0o600)
    file.write_text(text.replace(join_host_port(address, port), f"{_NAME}:{port}"), encoding="ascii")
    with (etc / "hosts").open("a", encoding="ascii") as hosts:
        hosts.write(f"127.0.0.1 localhost\n{address} {_NAME}\n")


def _is(setup: Setup) -> Truth:
    file = Deciding("file", lambda network: f"/etc/wireguard/{outside.tunnel_to_remote_end(network, 'a')}.conf")
    return never_up(setup, direction="forward" if setup.user == "root" else None, place=_PLACE, deciding=file)


def _excluded(setup: Setup) -> str | None:
    if setup.routes == "per-peer":
        return "the daemon makes a tunnel for each peer, and its file has them all"
    return endpoint_excluded(setup)


def _sends_elsewhere(network: "Network") -> None:
    found, _, _ = outside.endpoint(network, "a")
    if found != other_address(network):
        raise NotThereError(f"a's endpoint is {found}")
    proofs.never_shook_hands("a")(network)


FAULTS = (
    Fault(
        name="session-moved",
        summary=_SUMMARY,
        place=_PLACE,
        made=lambda setup: (Part(_SUMMARY, inject=_moved),),
        expected=_is,
        proof=_sends_elsewhere,
        excluded=_excluded,
    ),
)
