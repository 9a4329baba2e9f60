"""Sockets for path-MTU searches."""
