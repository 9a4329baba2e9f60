"""What a peer's responder says of its tunnel, about the node that asks and nobody else, as plain data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTunnel:
    """What of the peer's WireGuard is about the asker.

    addresses: the peer's own in the tunnel. interface: at the peer. public_key: the peer's own, as others must know it.
    knows_key: it has an entry with the asker's key. owner: the key of the entry that owns the asker's overlay address,
    None if none does. allowed: allowed-ips of the asker's entry. preshared: that entry has a preshared key. The rest is
    of that entry too.
    """

    addresses: tuple[str, ...] = ()
    interface: str | None = None
    public_key: str | None = None
    knows_key: bool = False
    owner: str | None = None
    allowed: tuple[str, ...] = ()
    preshared: bool | None = None
    endpoint: str | None = None
    last_handshake_unix_s: float | None = None
    rx_bytes: int | None = None
    tx_bytes: int | None = None
