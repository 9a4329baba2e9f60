"""Secrets in text: how they may be written, and where git has them."""
