"""TCP connections, TLS handshakes, transfers."""
