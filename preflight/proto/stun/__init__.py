"""STUN (RFC 8489), and what the peer's responder says about a NAT."""
