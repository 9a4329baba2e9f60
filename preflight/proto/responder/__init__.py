"""What a node and a peer's responder exchange in addition to STAMP, and what that proves."""
