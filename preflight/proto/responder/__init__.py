"""What is said between a node and a peer's responder beside STAMP, and what it proves."""
