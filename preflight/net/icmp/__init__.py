"""Sockets for echoes, sweeps and traceroutes."""
