"""Where the server listens: reading `ADDRESS:PORT`, opening sockets, and judging how exposed an address is."""

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from preflight.model.host_port import join_host_port, split_host_port

BACKLOG = 4096
CARRIER_GRADE_NAT = ip_network("100.64.0.0/10")  # RFC 6598; Tailscale numbers its nodes from it
TUNNELS = frozenset({"wireguard", "tun"})  # device kinds of overlays


class BindError(Exception):
    """An address where the server cannot listen; the text names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """An address to listen on; port 0 lets the kernel choose."""

    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        return join_host_port(str(self.address), self.port)


def places(text: str) -> list[Place]:
    """Read `ADDRESS:PORT`, `[V6]:PORT` or `INTERFACE:PORT`; an interface means all its addresses.

    Raises BindError.
    """
    try:
        host, port = split_host_port(text)
    except ValueError:
        raise BindError(f"{text!r} is not ADDRESS:PORT, such as 127.0.0.1:9847, [::1]:9847 or wg0:9847") from None
    if host == "localhost":
        host = "127.0.0.1"
    try:
        return [Place(ip_address(host), port)]
    except ValueError:
        found = [address for address, interface in _addresses().items() if interface == host]
    if not found:
        raise BindError(f"{host!r} is neither an IP address nor an interface of this machine that has one") from None
    return [Place(address, port) for address in found]


def listen(place: Place) -> socket.socket:
    """A listening socket. Raises BindError."""
    family = socket.AF_INET6 if place.address.version == 6 else socket.AF_INET
    # With an explicit protocol asyncio turns off Nagle's algorithm; without it each answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(place.address), place.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise BindError(f"cannot listen on {place}: {_explain(error, place)}") from None
    listener.setblocking(False)
    return listener


def exposed(address: IPv4Address | IPv6Address) -> bool:
    """Whether hosts outside this machine and the overlay can reach a listener on `address`."""
    if address.is_loopback:
        return False
    if isinstance(address, IPv4Address) and address in CARRIER_GRADE_NAT:
        return False
    interface = _addresses().get(address)
    return interface is None or _kind(interface) not in TUNNELS


def _explain(error: OSError, place: Place) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"the port is in use; see who has it with: ss -ltnp 'sport = :{place.port}'"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have the address; is the overlay up?"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "no permission; ports below 1024 need CAP_NET_BIND_SERVICE"
    return error.strerror or str(error)


def _addresses() -> dict[IPv4Address | IPv6Address, str]:
    """The machine's addresses with their interfaces, without IPv6 link-local ones (they need a zone)."""
    from preflight.netlink import IPRoute

    found: dict[IPv4Address | IPv6Address, str] = {}
    with IPRoute() as kernel:
        for message in kernel.get_addr():
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            address = ip_address(text)
            if not (address.version == 6 and address.is_link_local):
                found[address] = socket.if_indextoname(message["index"])
    return found


def _kind(interface: str) -> str | None:
    """The kernel's kind of a virtual device: wireguard, tun (taps too), veth…; from netlink, because /sys shows the
    devices of the namespace that mounted it."""
    from preflight.netlink import IPRoute

    with IPRoute() as kernel:
        (link,) = kernel.get_links(ifname=interface)
        details = link.get_attr("IFLA_LINKINFO")
        return str(details.get_attr("IFLA_INFO_KIND")) if details else None
