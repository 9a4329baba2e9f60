"""What TCP and TLS report, without I/O."""
