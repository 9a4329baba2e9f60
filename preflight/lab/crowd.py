"""A crowd of peers: what a large mesh asks of the checks. All of them are b, by addresses of their own."""

from typing import TYPE_CHECKING

from preflight.lab.faults import Fault, planned
from preflight.lab.topology import crowd_address

if TYPE_CHECKING:
    from preflight.lab.network import Network


def crowded(count: int) -> Fault:
    """a has so many peers more. No fault by itself."""
    return planned(f"{count} peers more", crowd=count)


def silent(*numbers: int, what: str = "") -> Fault:
    """Some of the crowd drop what comes to them. what: an nft match, everything if empty."""

    def inject(network: "Network") -> None:
        addresses = ", ".join(map(crowd_address, numbers))
        network.nft("b", f"input ip daddr {{ {addresses} }} {what} drop")

    return Fault(f"{len(numbers)} of them drop {what or 'what comes to them'}", inject=inject)
