"""Load on request: what asker and responder say, what each counts, and what it adds to the delay of others."""
