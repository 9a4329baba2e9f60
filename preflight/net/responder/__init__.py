"""Sockets towards a peer's responder, beside STAMP."""
