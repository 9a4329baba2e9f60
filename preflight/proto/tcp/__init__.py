"""What TCP and TLS tell without I/O."""
