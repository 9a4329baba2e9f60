"""Observers of a way: what this node's kernel, its filters and the wire say of packets."""
