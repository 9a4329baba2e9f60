"""Sockets towards STUN servers."""
