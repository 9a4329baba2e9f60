"""What runs on a node of a fleet before anything is installed there: standard library only."""
