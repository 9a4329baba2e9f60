"""What goes with a report to whoever has to judge it: raw evidence of this node, redacted and sealed."""
