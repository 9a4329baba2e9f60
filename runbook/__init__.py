"""One page per finding code, and the operator's runbook."""
