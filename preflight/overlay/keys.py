"""Public keys of private keys, derived at once so that the private key can be dropped."""

from base64 import b64encode


def derive_public_key(private_key: bytes) -> str:
    """The X25519 public key in base64, as `wg pubkey` prints it (RFC 7748). Raises ValueError for an invalid key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return b64encode(X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()).decode()
