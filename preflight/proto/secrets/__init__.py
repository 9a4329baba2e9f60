"""Secrets in text: how they may be encoded, and where git holds them."""
