"""How a's way to the control plane looks from a, for proofs: names and connections, without the product."""

import socket
import subprocess
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode

from preflight.lab.blueprint import Places
from preflight.lab.name_servers import DNS_PORT
from preflight.lab.network import inside
from preflight.lab.processes import program
from preflight.lab.stations.fault import NotThereError

if TYPE_CHECKING:
    from preflight.lab.network import Network

Proof = Callable[["Network"], None]
_QUICK_S = 1.0
"""No set-up of a lab has so long a round trip."""
_LOOK_UP_S = 4.0
_OUTCOMES: Mapping[type[OSError], str] = {
    ConnectionRefusedError: "refused",
    ConnectionResetError: "reset",
    TimeoutError: "silent",
    PermissionError: "forbidden",
}


def places_of(network: "Network") -> Places:
    """Where the control plane is in this lab."""
    return Places.in_tunnel(network.plan)


def url_of(network: "Network") -> str | None:
    """The control URL in a's settings."""
    return places_of(network).url(network.plan.control_url) if network.plan.control_url else None


def connects(network: "Network", address: str) -> str:
    """How a TCP connection of a to the control plane's port at an address ends, and its first byte's answer.

    It is `open`, `refused`, `reset`, `silent`, `forbidden` (by a's own kernel) or `unreachable`.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(network.names.namespace("a")), socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(_QUICK_S)
        try:
            client.connect((address, places_of(network).control_port))
            client.sendall(b"\r\n")
            client.recv(1)
        except OSError as error:
            if isinstance(error, TimeoutError) and _is_connected(client):
                return "open"
            return next((word for kind, word in _OUTCOMES.items() if isinstance(error, kind)), "unreachable")
    return "open"


def _is_connected(client: socket.socket) -> bool:
    try:
        client.getpeername()
    except OSError:
        return False
    return True


def looked_up(network: "Network", name: str) -> tuple[str, ...]:
    """The addresses that a's programs get for a name; none too if nothing comes in time."""
    words = network.command("a", program("getent"), "ahosts", name)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LOOK_UP_S, check=False)
    except subprocess.TimeoutExpired:
        return ()
    return tuple(dict.fromkeys(line.split()[0] for line in done.stdout.splitlines()))


def answered(network: "Network", resolver: str, name: str, *, tcp: bool = False) -> str:
    """What a resolver says to a about a name: addresses, a code such as NXDOMAIN, `empty`, `blocked`, `too long`, or an
    outcome.

    The outcomes of a connection are `refused`, `silent` and `unreachable`.
    """
    query = dns.message.make_query(name, "A" if network.plan.families[0] == 4 else "AAAA", use_edns=True)
    with inside(network.names.namespace("a")):
        try:
            reply = dns.query.tcp(query, resolver, _QUICK_S) if tcp else _over_udp(query, resolver)
        except dns.exception.Timeout:
            return "silent"
        except OSError as error:
            return next((word for kind, word in _OUTCOMES.items() if isinstance(error, kind)), "unreachable")
    if reply.flags & dns.flags.TC:
        return "too long"
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode())
    if any(isinstance(each, dns.edns.EDEOption) and each.code == dns.edns.EDECode.BLOCKED for each in reply.options):
        return "blocked"
    return " ".join(item.to_text() for rrset in reply.answer for item in rrset) or "empty"


def _over_udp(query: dns.message.Message, resolver: str) -> dns.message.Message:
    """The answer to a datagram. Its socket is connected, unlike dnspython's: only then the kernel reports refusals."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(_QUICK_S)
        client.connect((resolver, DNS_PORT))
        client.send(query.to_wire())
        return dns.message.from_wire(client.recv(65535))


def control_address(network: "Network") -> str:
    """The address at which the control plane listens."""
    return places_of(network).control


def connection_ends(*expected: str, to: Callable[["Network"], str] = control_address) -> Proof:
    """A connection of a to the control plane's address, or another, ends in one of these ways."""

    def prove(network: "Network") -> None:
        seen = connects(network, to(network))
        if seen not in expected:
            raise NotThereError(f"a's connection to {to(network)} is {seen}, not {' or '.join(expected)}")

    return prove


def url_contains(text: str) -> Proof:
    """a's control URL has this mistake."""

    def prove(network: "Network") -> None:
        urls = [url_of(network) or "", *network.plan.url_variables.values()]
        if not any(text in url for url in urls):
            raise NotThereError(f"no control URL of a contains {text}: {', '.join(urls)}")

    return prove


def resolver_says(resolver: str, name: str, *expected: str) -> Proof:
    """A resolver of a says one of these about a name."""

    def prove(network: "Network") -> None:
        seen = answered(network, resolver, name)
        if seen not in expected:
            raise NotThereError(f"{resolver} says {seen!r} about {name}, not {' or '.join(expected)}")

    return prove


def leads_to(name: str, address: str) -> Proof:
    """The first address that a's programs get for a name is this one; an empty one: they get none."""

    def prove(network: "Network") -> None:
        seen = (*looked_up(network, name), "")[0]
        if seen != address:
            raise NotThereError(f"{name} leads a to {seen or 'nothing'}, not to {address or 'nothing'}")

    return prove


def all_of(*proofs: Proof) -> Proof:
    """Each of these holds."""

    def prove(network: "Network") -> None:
        for proof in proofs:
            proof(network)

    return prove
