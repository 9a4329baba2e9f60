"""Readers of the overlay products, one module each, all returning one model."""
