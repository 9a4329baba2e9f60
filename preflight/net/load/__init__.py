"""Flows of load towards a responder, and small packets next to them."""
