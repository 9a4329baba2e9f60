"""Preflight and diagnostics for overlay networks."""

__version__ = "0.1.0"
