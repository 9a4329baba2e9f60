"""Sockets towards a peer's responder, other than STAMP."""
