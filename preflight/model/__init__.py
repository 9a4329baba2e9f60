"""Plain frozen data that I/O shells return and pure judges read."""
