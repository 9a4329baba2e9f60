"""ICMP echo, one target or many."""
