"""What changes a tunnel changes the file too from which a restart would build it again; pure."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from preflight.model.fix import LinkMtu, WgQuickValue, WireguardPeer, WireguardPort
from preflight.model.overlay import ConfiguredTunnel, OverlayState
from preflight.model.remedy import Remedies, Remedy, heal


def with_file(remedies: Remedies, tunnels: Iterable[OverlayState]) -> Remedies:
    """The remedies, each change of a tunnel of this node followed by the same one in its wg-quick file.

    An MTU or a port that the file lacks does not differ from it; a peer without
    addresses or a keepalive there has none.
    """
    files = {each.interface: each.configured for each in tunnels if each.configured is not None}
    return tuple(each for remedy in remedies for each in (remedy, *_in_file(remedy, files)))


def _in_file(remedy: Remedy, files: dict[str | None, ConfiguredTunnel]) -> Remedies:
    fix = remedy.fix
    if remedy.where != "node" or not isinstance(fix, LinkMtu | WireguardPeer | WireguardPort):
        return ()
    file = files.get(fix.interface)
    if file is None or file.saves:
        return ()
    return tuple(each for made in _values(fix, file) for each in heal(made))


def _values(
    fix: LinkMtu | WireguardPeer | WireguardPort, file: ConfiguredTunnel
) -> Iterator[Callable[[], WgQuickValue]]:
    name = fix.interface
    if isinstance(fix, LinkMtu):
        if file.mtu not in (None, fix.mtu_bytes):
            yield partial(WgQuickValue, interface=name, setting="MTU", value=str(fix.mtu_bytes))
    elif isinstance(fix, WireguardPort):
        if file.listen_port is not None:
            yield partial(WgQuickValue, interface=name, setting="ListenPort", value=str(fix.port))
    elif any(peer.key == fix.key for peer in file.peers):
        if fix.allowed_ips is not None:
            yield partial(
                WgQuickValue, interface=name, peer=fix.key, setting="AllowedIPs", value=", ".join(fix.allowed_ips)
            )
        if fix.keepalive_s is not None:
            yield partial(
                WgQuickValue, interface=name, peer=fix.key, setting="PersistentKeepalive", value=str(fix.keepalive_s)
            )
