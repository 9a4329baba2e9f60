"""What is read from this machine to see where packets die on their way."""
