"""Sockets for STAMP sessions."""
