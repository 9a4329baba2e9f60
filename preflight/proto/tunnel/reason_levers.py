"""What to do about a reason that a daemon gives in words, its own warning or its last login error; pure."""

import re
from collections.abc import Callable, Iterable

from preflight.model.overlay import OverlayState
from preflight.model.remedy import Remedies, by_hand, look

Lever = Callable[[OverlayState, str], Remedies]
"""From the state and the words that gave the reason."""


def of_warning(state: OverlayState, said: str) -> Remedies | None:
    """What a daemon's warning asks for; None where its words are not known."""
    return _first(_WARNINGS, state, said) if state.product == "tailscale" else None


def of_login(state: OverlayState, server: str) -> Remedies | None:
    """What the last login error asks for; None where there is none, or its words are not known.

    server: the option that names the tailnet's own control server, with a space in front; empty if there is none.
    """
    said = next((each for each in state.health if "login error" in each or "State store" in each), "")
    return _first(_logins(server), state, said)


def let_alone(writer: str) -> Remedies:
    """What keeps a program from writing resolv.conf over what the daemon wrote; systemd-resolved serves several."""
    if (line := _LEAVES_RESOLVERS.get(writer)) is not None:
        return look(line, "systemctl restart tailscaled   # then it writes its own again", root=True)
    return look(
        "ls -l /etc/resolv.conf; head -n 3 /etc/resolv.conf   # which program writes it? systemd-resolved lets several "
        "share it",
    )


_LEAVES_RESOLVERS = {
    "NetworkManager": "systemctl reload NetworkManager   # with rc-manager=unmanaged under [main] in a file of "
    "/etc/NetworkManager/conf.d",
    "resolvconf": "resolvconf -l   # who gave these servers? wg-quick does, by DNS = in its file: take it out there",
    "dhcpcd": "systemctl restart dhcpcd   # with the line `nohook resolv.conf` in /etc/dhcpcd.conf",
}


def _first(levers: Iterable[tuple[str, Lever]], state: OverlayState, said: str) -> Remedies | None:
    for pattern, lever in levers:
        if re.search(pattern, said, re.IGNORECASE):
            return lever(state, said)
    return None


def _line(*lines: str) -> Lever:
    """What heals."""
    return lambda _state, _said: by_hand(*lines, root=True)


def _shown(*lines: str) -> Lever:
    """What shows more."""
    return lambda _state, _said: look(*lines, root=True)


def _server_s_certificate(_state: OverlayState, said: str) -> Remedies:
    """Who signs what this node is shown: a proxy that looks into the connection signs by its own authority."""
    clock = look("date -u   # a certificate is valid only by the right time")
    if re.search(r"expired|not yet valid", said):
        return clock
    about = said.partition("://")[2] or said.partition("connection with")[2] or said.partition("error for")[2]
    name = re.search(r"[\w-]+(?:\.[\w-]+)+", about)
    if name is None:
        return clock
    question = f"openssl s_client -connect {name[0]}:443 -servername {name[0]} </dev/null | openssl x509 -noout -issuer"
    return look(f"{question}   # a proxy's own authority, or the control server's: must be known to this node")


def _answers(state: OverlayState, said: str) -> Remedies:
    """Whether the control server can be reached from here at all; its URL is in the error of most versions."""
    named = re.search(r"https?://[^\s\"/]+", said)
    url = named[0] if named else state.control_server or "https://controlplane.tailscale.com"
    return look(f"curl -sS -o /dev/null {url}/key?v=100   # the control server must answer from here")


UNBOUND = "listen for incoming UDP|udp4 bind"
"""What the daemon says where it could not take a UDP port: then it can use relays alone."""
_UPDATE = "tailscale update   # or by the package manager; then restart tailscaled"
_WARNINGS: tuple[tuple[str, Lever], ...] = (
    (
        "locked out",
        _line(
            "On a node that signs for the tailnet, run the `tailscale lock sign` line that `tailscale lock status` "
            "prints here."
        ),
    ),
    ("syncing is disabled", _line("tailscale set --sync")),
    (
        "IP forwarding is disabled",
        _line("sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1   # to persist: in /etc/sysctl.d"),
    ),
    (
        r"strict reverse-path filtering|set rp_filter",
        _line("sysctl -w net.ipv4.conf.all.rp_filter=2   # to persist: in /etc/sysctl.d"),
    ),
    ("snat-subnet-routes is disabled", _line("tailscale set --snat-subnet-routes")),
    (
        r"MagicSock function|^Receive\w+ is not running",
        _shown("journalctl -u tailscaled -n 50   # why it no longer reads; then restart it"),
    ),
    (
        "network (is )?down",
        _shown("ip -brief address; ip route show default   # is an uplink up, with a default route?"),
    ),
    ("log in using your web browser", _line("Log in to this network: open any http:// page in a browser here.")),
    (
        "blocking Tailscale traffic",
        lambda _state, _said: look("Let Tailscale through this network's own filter.", where="router"),
    ),
    ("encrypted connection with|^TLS connection error", _server_s_certificate),
    ("configured DNS servers", _shown("tailscale dns status   # the tailnet's resolvers: each must answer from here")),
    ("failed to (set|fetch) the DNS", _shown("ls -l /etc/resolv.conf; journalctl -u tailscaled -n 50 | grep -i dns")),
    (
        "iptables",
        _shown(
            "iptables -S | head   # fails? TS_DEBUG_FIREWALL_MODE=nftables in /etc/default/tailscaled, and restart it"
        ),
    ),
    ("security update", _line(_UPDATE)),
    (
        UNBOUND,
        _shown("ss -ulpn 'sport = :41641'; journalctl -u tailscaled -n 50 | grep -i bind"),
    ),
)


def _logins(server: str) -> tuple[tuple[str, Lever], ...]:
    key = f"tailscale up --auth-key=file:FILE{server}   # with a new key of the control server"
    tags = "Give the tags in the error an owner (tagOwners) in the tailnet's access rules, or log in without them."
    return (
        ("State store", _shown("journalctl -u tailscaled -n 30   # why its state cannot be read")),
        ("client version|capability version|too old", _line(_UPDATE)),
        (r"\btags?\b", lambda _state, _said: by_hand(tags, where="product console")),
        ("auth ?key|pre-?auth|API key|invalid key", _line(key)),
        ("x509|certificate", _server_s_certificate),
        ("dial tcp|no such host|refused|timeout|deadline exceeded|unreachable|connection reset|EOF", _answers),
    )
