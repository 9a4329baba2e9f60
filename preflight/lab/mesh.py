"""A large mesh, to load the checks: many peers, all of them b under different addresses."""

from typing import TYPE_CHECKING

from preflight.lab.part import Part, planned
from preflight.lab.topology import mesh_address

if TYPE_CHECKING:
    from preflight.lab.network import Network


def mesh(count: int) -> Part:
    """a has this many more peers. This is not a fault."""
    return planned(f"{count} more peers", mesh_peers=count)


def silent(*numbers: int, what: str = "") -> Part:
    """Some peers of the mesh drop incoming packets. what: an nft match, everything if empty."""

    def inject(network: "Network") -> None:
        addresses = ", ".join(map(mesh_address, numbers))
        network.nft("b", f"input ip daddr {{ {addresses} }} {what} drop")

    return Part(f"{len(numbers)} of them drop {what or 'all incoming packets'}", inject=inject)
