"""What another machine has to hand on inside the tunnel: OpenVPN's server to its clients, a member of Nebula to the
network behind it; pure.
"""

from ipaddress import ip_address

from preflight.model.overlay import OverlayState
from preflight.model.remedy import Remedies, look
from preflight.proto.tunnel.policy_advice import policy_levers
from preflight.proto.tunnel.session_loss import uncertified

Further = tuple[str, Remedies]
"""What else may be wrong, in words, and what shows more."""
NOTHING: Further = ("", ())


def server_of(tunnel: OverlayState, address: str) -> str | None:
    """The address in the tunnel of the server that hands on what is for an address; None if that is not known.

    A server may have an address of each family, and one is known here: of the other family nothing is said.
    The server itself knows its clients.
    """
    alike = [each for each in tunnel.met if ip_address(each).version == ip_address(address).version]
    client = tunnel.product == "openvpn" and not tunnel.lists_sessions
    return alike[0] if client and alike and address not in tunnel.met else None


def handed_on(target: str, server: str) -> Further:
    """What the server's answer leaves open."""
    words = (
        f"OpenVPN's remote end answers at {server}, so the session lives: {target} is not connected to it, or drops "
        "them, or it does not hand them on (client-to-client, iroute, or what its host forwards and filters)"
    )
    lines = (
        "sysctl net.ipv4.ip_forward; grep -rE 'client-to-client|iroute' /etc/openvpn; iptables-save -c",
        f"journalctl -u 'openvpn*' | grep 'Learn:'   # on the server: has {target} its address there?",
    )
    return words, look(*lines, where="peer", root=True)


def led_behind(tunnel: OverlayState, address: str) -> Further:
    """What Nebula leads to a member that has to have the network in its certificate: both ends drop it otherwise.

    Its host map shows the certificate of a member; its log does not.
    """
    wanted = ip_address(address)
    having = [each for each in tunnel.routed if each[0].version == wanted.version and wanted in each[0]]
    if tunnel.product != "nebula" or not having:
        return NOTHING
    if (lacking := uncertified(tunnel, address)) is not None:
        return lacking.words, lacking.remedies
    network, via = max(having, key=lambda each: each[0].prefixlen)
    member = tunnel.peer_for(via)
    if member is not None and member.behind is not None:
        return NOTHING
    words = (
        f"unsafe_routes of nebula here lead {address} to {via}: nebula drops it unless the certificate of {via} has "
        f"{network} behind it"
    )
    return words, look(
        f"nebula-cert print -path /etc/nebula/host.crt   # on {via}: do its subnets hold {network}? Is that there?",
        where="peer",
        root=True,
    )


def lets_in(tunnel: OverlayState, target: str) -> Remedies:
    """A member's own rules, of which nothing shows here that they drop."""
    return policy_levers("nebula", target, here=False) if tunnel.product == "nebula" else ()
