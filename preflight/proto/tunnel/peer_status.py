"""What a product with its own control plane says about a peer: a hint about yesterday, never a dead path."""

from datetime import UTC, datetime
from enum import Enum, auto

from preflight.model.measurement import Measurement
from preflight.model.overlay import OverlayPeer
from preflight.model.remedy import Remedies, by_hand, look

PORTS = {"tailscale": 41641, "zerotier": 9993, "nebula": 4242}


class Word(Enum):
    """What the product reports about a peer."""

    EXPIRED = auto()
    OFFLINE = auto()
    RELAYED = auto()
    DIRECT = auto()
    WAITING = auto()
    IDLE = auto()


def word(peer: OverlayPeer) -> Word:
    """What is reported about a peer. Without a path in use: WAITING if there never was a handshake, else IDLE."""
    if peer.expired:
        return Word.EXPIRED
    if peer.online is False and not peer.endpoint:
        return Word.OFFLINE
    if peer.relayed:
        return Word.RELAYED
    if peer.endpoint:
        return Word.DIRECT
    return Word.WAITING if peer.last_handshake_unix_s == 0 else Word.IDLE


def settled(peer: OverlayPeer) -> bool:
    """Whether traffic cannot soon change the report: a session begins at a relay and becomes direct."""
    return word(peer) in (Word.EXPIRED, Word.OFFLINE, Word.DIRECT)


def sentence(product: str, name: str, peer: OverlayPeer) -> str:
    """The report as a sentence; name: what the reader calls the peer."""
    match word(peer):
        case Word.EXPIRED:
            when = f" at {utc(peer.key_expires_unix_s)}" if peer.key_expires_unix_s else ""
            return f"{product} says that the key of {name} has expired{when}"
        case Word.RELAYED:
            return f"{product} relays the traffic to {name} through {peer.relay or 'a relay'}"
        case Word.DIRECT:
            return f"{product} knows {name}: direct to {peer.endpoint}"
        case Word.OFFLINE:
            seen = f", last seen at {utc(peer.last_seen_unix_s)}" if peer.last_seen_unix_s else ""
            said = f"{product}'s control server says that {name} is offline{seen}"
        case Word.WAITING:
            said = f"{product} has no session with {name} yet"
        case Word.IDLE:
            said = f"{product} reports no path in use to {name}"
    return f"{said}; only a measurement shows whether it can be reached"


def reported_of(known: OverlayPeer) -> dict[str, Measurement]:
    """The report as evidence."""
    return {
        "endpoint": known.endpoint,
        "relay": known.relay,
        "relayed": known.relayed,
        "online": known.online,
        "rx_bytes": known.rx_bytes,
        "tx_bytes": known.tx_bytes,
        "last_handshake": utc(known.last_handshake_unix_s) if known.last_handshake_unix_s else None,
        "last_seen": utc(known.last_seen_unix_s) if known.last_seen_unix_s else None,
        "expires": utc(known.key_expires_unix_s) if known.key_expires_unix_s else None,
    }


def open_port(product: str) -> Remedies:
    """What lets a relayed session become direct."""
    port = PORTS.get(product)
    sentence = f"Let UDP port {port} in on one of the two nodes, to its own address or through its router."
    return look(sentence, where="router") if port else ()


def log_in_again(name: str, control_server: str | None) -> Remedies:
    """A new key for a member of a tailnet, which only that machine can ask for, at the tailnet's own server."""
    server = f" --login-server={control_server}" if control_server else ""
    return by_hand(f"tailscale up --force-reauth{server}", where="peer", host=name, root=True)


def utc(unix_s: float) -> str:
    """A time as RFC 3339, to the second; what no calendar holds as the number that it is."""
    try:
        return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{unix_s:.0f} s"
