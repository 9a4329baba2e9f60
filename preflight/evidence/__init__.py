"""What accompanies a report to its reader: raw evidence of this node, redacted and sealed."""
