"""`--capture`: which packets of a run are its own, and the recorder that keeps their headers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from preflight.api import Context, Peer
from preflight.proto.control.url import ControlUrl

if TYPE_CHECKING:
    from preflight.net.recorder import Recorder


def start_recording(context: Context) -> "Recorder | None":
    """A recorder of this run's packets on the overlay; None without an overlay. Raises click.UsageError."""
    from preflight.net.recorder import Recorder

    interface = context.overlay.interface if context.overlay else None
    if interface is None:
        return None
    try:
        recorder = Recorder(interface, *other_ends(context.peers, context.settings.control.usable_url))
    except PermissionError:
        raise click.UsageError("--capture needs root or CAP_NET_RAW") from None
    except OSError as error:
        raise click.UsageError(f"--capture: {interface}: {error.strerror}") from None
    recorder.start()
    return recorder


def other_ends(peers: Iterable[Peer], control: ControlUrl | None) -> tuple[set[str], set[int]]:
    """Addresses and ports of the peers' responders and of the control plane, where its URL has an address."""
    peers = tuple(peers)
    addresses, ports = {peer.address for peer in peers}, {peer.responder_port for peer in peers}
    if control is not None:
        ports.add(control.port)
        addresses.update(control_addresses(control))
    return addresses, ports


def control_addresses(control: ControlUrl | None) -> tuple[str, ...]:
    """The address in the control URL; none where it has a name."""
    return (str(control.address),) if control is not None and control.address is not None else ()
