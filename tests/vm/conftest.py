"""The nodes of the overlay's tests, which are on the kernel's WireGuard here."""

from tests.overlay.conftest import tunnel, wire

__all__ = ["tunnel", "wire"]
