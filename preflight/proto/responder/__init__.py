"""What a node and a peer's responder say to each other other than STAMP, and what it proves."""
