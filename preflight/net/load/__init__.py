"""Flows of load towards a responder, and small packets beside them."""
