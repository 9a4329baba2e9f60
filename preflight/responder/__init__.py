"""The responder: answers probes at the peer and probes back on request."""
