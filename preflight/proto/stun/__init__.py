"""STUN (RFC 8489), and what the peer's responder tells about a NAT."""
