"""STAMP (RFC 8762, RFC 8972): test packets, session-sender, session-reflector."""
