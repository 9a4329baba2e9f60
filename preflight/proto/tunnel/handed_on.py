"""A client of OpenVPN that is silent while its server answers: whether the server hands packets on; pure."""

from ipaddress import ip_address

from preflight.model.overlay import OverlayState
from preflight.model.remedy import Remedies, look


def server_of(tunnel: OverlayState, address: str) -> str | None:
    """The address in the tunnel of the server that hands on what is for an address; None if that is not known.

    A server may have an address of each family, of which one is known: of the other family nothing is said.
    """
    alike = [each for each in tunnel.met if ip_address(each).version == ip_address(address).version]
    return alike[0] if tunnel.product == "openvpn" and alike and address not in tunnel.met else None


def handed_on(target: str, server: str) -> tuple[str, Remedies]:
    """In words, what the server's answer leaves open, and what shows more there."""
    words = (
        f"OpenVPN's server answers at {server}, so the session lives: {target} is not connected to it, or drops them, "
        "or the server does not hand them on (client-to-client, iroute, or what its host forwards and filters)"
    )
    lines = (
        "sysctl net.ipv4.ip_forward; grep -rE 'client-to-client|iroute' /etc/openvpn; iptables-save -c",
        f"journalctl -u 'openvpn*' | grep 'Learn:'   # on the server: has {target} its address there?",
    )
    return words, look(*lines, where="peer", root=True)
