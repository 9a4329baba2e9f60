"""Datagram path-MTU search (RFC 4821, RFC 8899): the probes on the wire, and the searches."""
